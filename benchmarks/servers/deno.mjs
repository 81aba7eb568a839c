// Deno's own server, on the Deno that npm installed. It does not negotiate permessage-deflate.

/** @type {Set<WebSocket>} */
const members = new Set();

Deno.serve(
  {
    hostname: "127.0.0.1",
    port: 0,
    onListen: ({ port }) => console.log(`listening ${port}`),
  },
  (request) => {
    if (request.headers.get("upgrade") !== "websocket") return new Response(null, { status: 400 });
    const { pathname } = new URL(request.url);
    const { socket, response } = Deno.upgradeWebSocket(request);
    socket.binaryType = "arraybuffer";
    if (pathname === "/broadcast") {
      socket.onopen = () => members.add(socket);
      socket.onclose = () => members.delete(socket);
    } else if (pathname === "/publish") {
      socket.onmessage = ({ data }) => {
        for (const member of members) member.send(data);
      };
    } else {
      socket.onmessage = ({ data }) => socket.send(data);
    }
    return response;
  },
);

// The runner asks for a collection before it reads the memory of idle connections.
Deno.addSignalListener("SIGUSR2", () => globalThis.gc?.());
