/** The work in a thread of its own, so that the page stays at hand. */

import type { Challenge } from "./challenge";
import { solve } from "./work";

self.addEventListener("message", (event: MessageEvent<Challenge>) => {
  void solve(event.data)
    .catch(() => null)
    .then((solution) => self.postMessage(solution));
});
