// ws as its README shows it. Whether it finds bufferutil is up to WS_NO_BUFFER_UTIL.

import { createServer } from "node:http";
import { WebSocketServer } from "ws";
import { compress, listen } from "./common.mjs";

/** @type {Set<import("ws").WebSocket>} */
const members = new Set();

const server = createServer();
const webSockets = new WebSocketServer({ server, perMessageDeflate: compress });
webSockets.on("connection", (socket, request) => {
  socket.on("error", () => {});
  if (request.url === "/broadcast") {
    members.add(socket);
    socket.on("close", () => members.delete(socket));
  } else if (request.url === "/publish") {
    socket.on("message", (data, isBinary) => {
      for (const member of members) member.send(data, { binary: isBinary });
    });
  } else {
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
  }
});
listen(server);
