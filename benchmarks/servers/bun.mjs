// Bun's own server, on the Bun that npm installed.

import process from "node:process";

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request, server) {
    const { pathname } = new URL(request.url);
    if (server.upgrade(request, { data: { pathname } })) return undefined;
    return new Response("Not a WebSocket request.", { status: 400 });
  },
  websocket: {
    perMessageDeflate: process.argv.includes("--compress"),
    open(socket) {
      if (socket.data.pathname === "/broadcast") socket.subscribe("members");
    },
    message(socket, message) {
      // The second argument asks for compression, which takes effect where it was negotiated.
      if (socket.data.pathname === "/") socket.send(message, true);
      else if (socket.data.pathname === "/publish") server.publish("members", message);
    },
  },
});
console.log(`listening ${server.port}`);

// The runner asks for a collection before it reads the memory of idle connections.
process.on("SIGUSR2", () => Bun.gc(true));
