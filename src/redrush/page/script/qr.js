// A link or a code as a picture that another telephone's camera reads. Made in a worker: it takes a slow one a while.
import { qrCodes } from "../vendor/lean-qr-2.7.4.nano.js";
import { beside } from "./workers.js";

// Runs in the worker: it may use nothing of this page. Says {box, path} of an SVG of one path, null for too long a text.
function draw(makerOf) {
  const MARGIN = 4; // modules that have to stay white around it
  self.onmessage = ({ data }) => {
    try {
      const { size, get } = makerOf()(data);
      let path = "";
      for (let y = 0; y < size; y += 1) {
        for (let x = 0; x < size; x += 1) if (get(x, y)) path += `M${x} ${y}h1v1h-1z`;
      }
      self.postMessage({ box: [-MARGIN, -MARGIN, size + 2 * MARGIN, size + 2 * MARGIN].join(" "), path });
    } catch {
      self.postMessage(null);
    }
  };
}

// Resolves with {box, path}, or with null where there can be no picture.
export function drawn(view, text) {
  return new Promise((resolve) => {
    const told = (data, end) => {
      end();
      resolve(data);
    };
    beside(view, `(${draw})(${qrCodes})`, text, told, () => resolve(null));
  });
}
