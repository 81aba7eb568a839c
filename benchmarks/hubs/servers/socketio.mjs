// Socket.IO as its documentation shows it, over WebSocket only; acknowledgements are results.

import { createServer } from "node:http";
import { Server } from "socket.io";
import { listen } from "./common.mjs";

let taken = 0;

const server = createServer();
const io = new Server(server, { transports: ["websocket"] });
io.on("connection", (socket) => {
  socket.on("echo", (text, answer) => answer(text));
  socket.on("take", () => {
    taken++;
  });
  socket.on("taken", (answer) => answer(taken));
  socket.on("broadcast", (text) => io.emit("message", text));
  socket.on("join", (group, answer) => {
    socket.join(group);
    answer(null);
  });
  socket.on("toGroup", (group, text) => io.to(group).emit("message", text));
});
listen(server);
