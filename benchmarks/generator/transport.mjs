// Raw TCP on whatever runs the generator. On Bun a read and a write cost less than on Node, which
// leaves the generator further below the servers that it measures.

import { connect } from "node:net";
import process from "node:process";

/**
 * @typedef {object} Handlers
 * @property {(bytes: Uint8Array) => void} onData - The bytes are gone after the call.
 * @property {() => void} onClose
 */
/** @typedef {{ write(bytes: Uint8Array): void, end(): void, destroy(): void }} Connection */

/** @type {(port: number, handlers: Handlers) => Promise<Connection>} */
export const open = process.versions.bun ? openOnBun : openOnNode;

/** One for all: what was read is used before the next read. */
const readBuffer = Buffer.allocUnsafe(256 * 1024);

function openOnNode(port, { onData, onClose }) {
  return new Promise((resolve, reject) => {
    const socket = connect({
      port,
      host: "127.0.0.1",
      noDelay: true,
      onread: {
        buffer: readBuffer,
        callback: (count, buffer) => {
          onData(buffer.subarray(0, count));
          return true;
        },
      },
    });
    socket.on("connect", () => {
      resolve({
        write: (bytes) => void socket.write(bytes),
        end: () => void socket.end(),
        destroy: () => void socket.destroy(),
      });
    });
    socket.on("error", reject);
    socket.on("close", onClose);
  });
}

function openOnBun(port, { onData, onClose }) {
  return new Promise((resolve, reject) => {
    /** What the kernel did not take yet. */
    let waiting = [];
    const flush = (socket) => {
      while (waiting.length > 0) {
        const count = socket.write(waiting[0]);
        if (count < waiting[0].length) {
          waiting[0] = waiting[0].subarray(Math.max(count, 0));
          return;
        }
        waiting.shift();
      }
    };
    Bun.connect({
      hostname: "127.0.0.1",
      port,
      socket: {
        open(socket) {
          resolve({
            write(bytes) {
              if (waiting.length > 0) return void waiting.push(bytes);
              const count = socket.write(bytes);
              if (count < bytes.length) waiting = [bytes.subarray(Math.max(count, 0))];
            },
            end: () => void socket.end(),
            destroy: () => void socket.terminate(),
          });
        },
        data(_, bytes) {
          try {
            onData(bytes);
          } catch (error) {
            // Bun would give it to `error` below, where a wrong answer would go unnoticed.
            setTimeout(() => {
              throw error;
            });
          }
        },
        drain: flush,
        close: onClose,
        error: (_, error) => reject(error),
        connectError: (_, error) => reject(error),
      },
    }).catch(reject);
  });
}
