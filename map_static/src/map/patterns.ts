/** Images the map draws with, made here: the levels' shapes, the fills of coloured lakes, hatching. */

import type { Map as Canvas } from "maplibre-gl";

import { LEVEL_COLOURS, LEVEL_SHAPES, RANKS } from "../levels";

const PIXEL_RATIO = 2;
const SHAPE_PX = 22;
const CELL_PX = 12;

/** Draw all of them into a map, or again with the colours of day or night. */
export function addImages(map: Canvas, ground: string): void {
  for (const rank of RANKS) {
    put(map, `level-${rank}`, SHAPE_PX, (context, size) => drawShape(context, size, rank));
    put(map, `fill-${rank}`, CELL_PX, (context, size) => drawFill(context, size, rank));
    put(map, `hatch-${rank}`, CELL_PX, (context, size) => drawHatch(context, size, LEVEL_COLOURS[rank], 0.22, ground));
  }
  put(map, "zone", CELL_PX, (context, size) => drawHatch(context, size, "#2e7d5b", 0.09));
}

function put(map: Canvas, id: string, px: number, draw: (context: CanvasRenderingContext2D, size: number) => void): void {
  const size = px * PIXEL_RATIO;
  const context = Object.assign(document.createElement("canvas"), { width: size, height: size }).getContext("2d");
  if (!context) return;
  draw(context, size);
  const image = context.getImageData(0, 0, size, size);
  if (map.hasImage(id)) map.updateImage(id, image);
  else map.addImage(id, image, { pixelRatio: PIXEL_RATIO });
}

/** Disc, diamond, triangle, octagon, each with a white rim. */
function drawShape(context: CanvasRenderingContext2D, size: number, rank: 1 | 2 | 3 | 4): void {
  const rim = 3 * PIXEL_RATIO;
  const at = ([x, y]: readonly [number, number]): [number, number] => [rim + x * (size - 2 * rim), rim + y * (size - 2 * rim)];
  const corners = LEVEL_SHAPES[rank];
  context.beginPath();
  if (corners.length === 0) context.arc(size / 2, size / 2, size / 2 - rim, 0, 2 * Math.PI);
  else corners.forEach((corner, index) => (index === 0 ? context.moveTo(...at(corner)) : context.lineTo(...at(corner))));
  context.closePath();
  context.lineJoin = "round";
  context.lineWidth = rim * 1.4;
  context.strokeStyle = "#ffffff";
  context.stroke();
  context.fillStyle = LEVEL_COLOURS[rank];
  context.fill();
}

/** The same order in lakes as in shapes: IV dots, III upright lines, II slanting lines, I a grid. White on the level's colour. */
function drawFill(context: CanvasRenderingContext2D, size: number, rank: 1 | 2 | 3 | 4): void {
  context.strokeStyle = context.fillStyle = "#ffffff";
  context.lineWidth = size / 8;
  context.beginPath();
  if (rank === 1) context.arc(size / 2, size / 2, size / 7, 0, 2 * Math.PI);
  if (rank === 2) line(context, size / 2, 0, size / 2, size);
  if (rank === 3) slant(context, size);
  if (rank === 4) {
    line(context, size / 2, 0, size / 2, size);
    line(context, 0, size / 2, size, size / 2);
  }
  if (rank === 1) context.fill();
  else context.stroke();
}

function drawHatch(context: CanvasRenderingContext2D, size: number, colour: string, share: number, ground?: string): void {
  if (ground) {
    context.globalAlpha = 0.55;
    context.fillStyle = ground;
    context.fillRect(0, 0, size, size);
    context.globalAlpha = 1;
  }
  context.strokeStyle = colour;
  context.lineWidth = size * share;
  context.beginPath();
  slant(context, size);
  context.stroke();
}

/** Slanting lines that go on over the cell's edges. */
function slant(context: CanvasRenderingContext2D, size: number): void {
  for (const shift of [-size, 0, size]) line(context, shift, size, shift + size, 0);
}

function line(context: CanvasRenderingContext2D, x1: number, y1: number, x2: number, y2: number): void {
  context.moveTo(x1, y1);
  context.lineTo(x2, y2);
}
