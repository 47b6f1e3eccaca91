// Work beside the page, so that it stays alive.

// Where the page's policy asks for trusted types, a worker's address has to be one: all of them are made here.
let trusted = null;

export function scriptAddress(view, url) {
  trusted ??= view.trustedTypes?.createPolicy("redrush", { createScriptURL: (made) => made }) || { createScriptURL: (made) => made };
  return trusted.createScriptURL(url);
}

// Run `source` in a worker with `asked`. `told(data, end)` hears what it says, and ends it; `failed()` that it cannot run.
export function beside(view, source, asked, told, failed) {
  const url = view.URL.createObjectURL(new view.Blob([source], { type: "text/javascript" }));
  const worker = new view.Worker(scriptAddress(view, url));
  const end = () => {
    worker.terminate();
    view.URL.revokeObjectURL(url);
  };
  worker.onerror = () => {
    end();
    failed();
  };
  worker.onmessage = ({ data }) => told(data, end);
  worker.postMessage(asked);
}
