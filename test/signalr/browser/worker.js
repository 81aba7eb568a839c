// The cases in a worker, which has another bundle of the client: one message per case.
importScripts("signalr-worker.js", "signalr-protocol-msgpack.js", "cases.js");

addEventListener("message", async ({ data: { id, name, target } }) => {
  postMessage({ id, failure: await runCase(name, target) });
});
