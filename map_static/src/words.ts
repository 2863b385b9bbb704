/** Texts come from the server as JSON beside the element they belong to, so that translations stay in one place. */

export type Words = Readonly<Record<string, unknown>>;

/** Read the `<script type="application/json" data-words>` inside an element; nothing there gives no words. */
export function readWords(element: ParentNode): Words {
  const text = element.querySelector("script[data-words]")?.textContent;
  return text ? (JSON.parse(text) as Words) : {};
}

/** One sentence with its `{name}` places filled. An unknown key gives an empty text, never an exception. */
export function say(words: Words, key: string, values: Readonly<Record<string, string | number>> = {}): string {
  const template = words[key];
  return typeof template === "string" ? fill(template, values) : "";
}

/** A group of words such as the names of the kinds. */
export function group(words: Words, key: string): Readonly<Record<string, string>> {
  const found = words[key];
  return typeof found === "object" && found !== null ? (found as Record<string, string>) : {};
}

export function fill(template: string, values: Readonly<Record<string, string | number>>): string {
  return template.replace(/\{(\w+)\}/g, (whole, name: string) => (name in values ? String(values[name]) : whole));
}

/** The text of the first element that matches, without the space around it; nothing gives an empty text. */
export function readText(page: ParentNode, selector: string): string {
  return page.querySelector(selector)?.textContent?.trim() ?? "";
}
