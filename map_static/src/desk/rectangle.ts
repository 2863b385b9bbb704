/** Rectangles on a picture, as fractions of its width and height. Pure. */

export interface Rectangle {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** A rectangle smaller than this was a slip of the hand. The server refuses below 0.002. */
export const SMALLEST = 0.006;
const STEP = 0.01;
const START: Rectangle = { left: 0.4, top: 0.4, width: 0.2, height: 0.2 };

/** The rectangle between two corners, cut to the picture; null for a slip. */
export function between(a: Point, b: Point): Rectangle | null {
  const [left, right] = [clamp(Math.min(a.x, b.x)), clamp(Math.max(a.x, b.x))];
  const [top, bottom] = [clamp(Math.min(a.y, b.y)), clamp(Math.max(a.y, b.y))];
  if (right - left < SMALLEST || bottom - top < SMALLEST) return null;
  return { left, top, width: right - left, height: bottom - top };
}

/** Where a rectangle begins that is added by keyboard: the middle. */
export function added(): Rectangle {
  return START;
}

/** An arrow key moves a rectangle, with Shift it resizes it from its lower right corner; null for any other key. */
export function stepped(rectangle: Rectangle, key: string, isResizing: boolean): Rectangle | null {
  const direction = DIRECTIONS[key];
  if (!direction) return null;
  const [x, y] = [direction[0] * STEP, direction[1] * STEP];
  if (isResizing) {
    return {
      ...rectangle,
      width: clamp(rectangle.width + x, STEP, 1 - rectangle.left),
      height: clamp(rectangle.height + y, STEP, 1 - rectangle.top),
    };
  }
  return {
    ...rectangle,
    left: clamp(rectangle.left + x, 0, 1 - rectangle.width),
    top: clamp(rectangle.top + y, 0, 1 - rectangle.height),
  };
}

/** As the form sends it: `left,top,width,height`. */
export function written(rectangle: Rectangle): string {
  return [rectangle.left, rectangle.top, rectangle.width, rectangle.height].map((value) => value.toFixed(5)).join(",");
}

const DIRECTIONS: Readonly<Record<string, readonly [number, number]>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

function clamp(value: number, least = 0, most = 1): number {
  return Math.min(most, Math.max(least, value));
}
