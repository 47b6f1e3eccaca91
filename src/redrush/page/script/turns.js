// Long work in turns: between two of them the browser does what else is due, a frame or a tap.

// Resolves in a task of its own, and before those that are due later.
export function nextTurn(view) {
  if (view.scheduler?.yield) return view.scheduler.yield();
  return new Promise((resolve) => {
    const { port1, port2 } = new view.MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
