import type { SendData, WebSocketConnection } from "./web-socket-connection.js";

/** A socket's messages as a pair of web streams, with the socket's own back-pressure. */
export function messagesAsStreams(socket: WebSocketConnection): {
  readable: ReadableStream<string | Uint8Array>;
  writable: WritableStream<SendData>;
} {
  const messages = socket[Symbol.asyncIterator]();
  const readable = new ReadableStream<string | Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await messages.next();
        if (done) controller.close();
        else controller.enqueue(value.data);
      },
      cancel: () => socket.close(),
    },
    // The socket buffers already.
    { highWaterMark: 0 },
  );
  const writable = new WritableStream<SendData>({
    write: (data) => socket.send(data),
    close: () => socket.close(),
    abort: () => socket.abort(),
  });
  return { readable, writable };
}
