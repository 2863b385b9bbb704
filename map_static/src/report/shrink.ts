/** Make a large photo smaller on the phone: minutes less on a bad line, and nothing lost that a moderator would see. */

/** The longest edge kept. The largest picture anybody is shown has 2000 px; the rest is room for cutting out. */
export const KEEP_PX = 2560;
/** A panorama of this height is still worth looking into, and may therefore be longer, but not without end. */
export const KEEP_HEIGHT_PX = 1440;
export const LONGEST_PX = 2 * KEEP_PX;
/** Smaller files are sent as they are. */
export const SMALL_BYTES = 1_500_000;
const QUALITY = 0.88;
const SHRINKABLE = /^image\/(jpeg|png|webp)$/;

/** A smaller JPEG, or the file itself: when it is small, cannot be decoded here, or would not become smaller. */
export async function shrink(file: Blob): Promise<Blob> {
  if (file.size <= SMALL_BYTES || !SHRINKABLE.test(file.type) || !("createImageBitmap" in globalThis)) return file;
  try {
    const picture = await decode(file);
    const { width, height } = fit(picture.width, picture.height);
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d");
    if (!context) return file;
    context.fillStyle = "#fff"; // what is transparent
    context.fillRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    context.drawImage(picture, 0, 0, width, height);
    picture.close();
    const smaller = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
    canvas.width = canvas.height = 0; // gives the memory back at once; old phones have little
    return smaller && smaller.size < file.size ? smaller : file;
  } catch {
    return file;
  }
}

/** The picture, turned as the camera was held: what is drawn anew has no EXIF that would turn it later. */
async function decode(file: Blob): Promise<ImageBitmap> {
  try {
    return await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    // Browsers that do not know the word turn it by themselves (Chrome 81 to 110).
    return createImageBitmap(file);
  }
}

/** The size kept, never larger than it was: within {@link KEEP_PX}, a panorama longer for the sake of its height. */
export function fit(width: number, height: number): { readonly width: number; readonly height: number } {
  const [long, short] = [Math.max(width, height), Math.min(width, height)];
  const scale = Math.min(1, Math.max(KEEP_PX / long, Math.min(KEEP_HEIGHT_PX / short, LONGEST_PX / long)));
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}
