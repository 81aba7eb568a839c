// The functional cases, for a page or a worker that has Microsoft's bundles: `runCase(name, wish)`.

const text = "你好，世界！ Hello \u{1F9ED}";

/** Fails with both values in the message. */
function equal(actual, expected) {
  const [left, right] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (left !== right) throw new Error(`It is ${left}, not ${right}.`);
}

async function rejects(promise, message) {
  const error = await promise.then(
    () => undefined,
    (reason) => reason,
  );
  if (error === undefined) throw new Error("There was no error.");
  if (typeof message === "string") equal(error.message, message);
  else if (!message.test(error.message)) throw new Error(`Another error: ${error.message}`);
}

function within(promise, what) {
  const limit = new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`${what}: nothing within 15 s`)), 15_000);
  });
  return Promise.race([promise, limit]);
}

/** A text from an ordinary GET, without the client's own way to make requests. */
function getText(url) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", url);
    request.onload = () => resolve(request.responseText);
    request.onerror = () => reject(new Error(`${url} failed`));
    request.send();
  });
}

function make(wish, options = {}) {
  const { baseUrl, transport, protocol = "json" } = wish;
  const builder = new signalR.HubConnectionBuilder()
    .configureLogging(signalR.LogLevel.None)
    .withUrl(`${baseUrl}${options.path ?? "/testhub"}`, {
      ...(transport !== undefined && { transport: signalR.HttpTransportType[transport] }),
      ...options.http,
    });
  if (protocol === "messagepack") {
    builder.withHubProtocol(new signalR.protocols.msgpack.MessagePackHubProtocol());
  }
  if (options.reconnect !== undefined) builder.withAutomaticReconnect(options.reconnect);
  const connection = builder.build();
  wish.cleanups.push(() => connection.stop());
  return connection;
}

async function start(wish, options) {
  const connection = make(wish, options);
  await connection.start();
  return connection;
}

/** The first call of a client's method. */
function called(connection, name) {
  return within(new Promise((resolve) => connection.on(name, resolve)), name);
}

function readStream(stream) {
  const items = [];
  const all = new Promise((resolve, reject) => {
    stream.subscribe({
      next: (item) => items.push(item),
      complete: () => resolve(items),
      error: reject,
    });
  });
  return within(all, "the stream");
}

const failed = (method, message) =>
  `An unexpected error occurred invoking '${method}' on the server. ${message}`;

const cases = {
  async "invokes a method and gets its result"(wish) {
    const connection = await start(wish);
    equal(await connection.invoke("Echo", text), text);
  },
  async "sends an object and gets one"(wish) {
    const connection = await start(wish);
    const received = called(connection, "customobject");
    await connection.send("SendCustomObject", { Name: "test", Value: 42 });
    equal(await received, { Name: "test", Value: 42 });
  },
  async streams(wish) {
    const connection = await start(wish);
    equal(await readStream(connection.stream("Stream")), ["a", "b", "c"]);
    equal(await readStream(connection.stream("EmptyStream")), []);
  },
  async "cancels a stream"(wish) {
    const connection = await start(wish);
    const canceled = called(connection, "StreamCanceled");
    connection
      .stream("InfiniteStream")
      .subscribe({ next() {}, complete() {}, error() {} })
      .dispose();
    await canceled;
  },
  async errors(wish) {
    const connection = await start(wish);
    await rejects(
      connection.invoke("ThrowException", "An error occurred."),
      failed("ThrowException", "InvalidOperationException: An error occurred."),
    );
    await rejects(
      connection.invoke("Stream"),
      "The client attempted to invoke the streaming 'Stream' method with a non-streaming invocation.",
    );
    await rejects(
      readStream(connection.stream("StreamThrowException", "An error occurred.")),
      failed("StreamThrowException", "InvalidOperationException: An error occurred."),
    );
    await rejects(
      readStream(connection.stream("Echo", "42")),
      "The client attempted to invoke the non-streaming 'Echo' method with a streaming invocation.",
    );
    equal(await connection.invoke("Echo", "after"), "after");
  },
  async "the server calls the client"(wish) {
    const connection = await start(wish);
    const received = called(connection, "message");
    await connection.invoke("InvokeWithString", text);
    equal(await received, text);
  },
  async "values of many types"(wish) {
    const connection = await start(wish);
    const isBinary = wish.protocol === "messagepack";
    const plain = (value) => ({
      ByteArray: isBinary ? [...value.ByteArray] : value.ByteArray,
      DateTime: new Date(value.DateTime).getTime(),
      Guid: value.Guid,
      IntArray: value.IntArray,
      String: value.String,
    });
    const date = new Date(Date.UTC(2000, 0, 1));
    const sent = {
      ByteArray: isBinary ? Uint8Array.of(1, 2, 3) : "AQID",
      DateTime: isBinary ? date : "2000-01-01T00:00:00Z",
      Guid: "00010203-0405-0607-0706-050403020100",
      IntArray: [1, 2, 3],
      String: "hello world",
    };
    equal(plain(await connection.invoke("EchoComplexObject", sent)), plain(sent));
    equal(plain(await connection.invoke("SendComplexObject")), plain(sent));
  },
  async "can be restarted, and keeps its handlers"(wish) {
    const connection = make(wish);
    const seen = [];
    connection.on("Message", (value) => seen.push(value));
    for (const value of ["first", "second"]) {
      await connection.start();
      await connection.invoke("InvokeWithString", value);
      // What the server sent before the completion has been handled.
      await connection.stop();
    }
    equal(seen, ["first", "second"]);
  },
  async "uploads a stream"(wish) {
    const connection = await start(wish);
    const subject = new signalR.Subject();
    const result = connection.invoke("StreamingConcat", subject);
    for (const part of ["Hello", " ", "world", "!"]) subject.next(part);
    subject.complete();
    equal(await within(result, "the result"), "Hello world!");
  },
  async "an upload that fails"(wish) {
    const connection = await start(wish);
    const subject = new signalR.Subject();
    const result = connection.invoke("StreamingConcat", subject);
    subject.error(new Error("Something bad"));
    await rejects(
      within(result, "the result"),
      failed("StreamingConcat", "HubException: Something bad"),
    );
  },
  async "client results"(wish) {
    const connection = await start(wish);
    const ask = () => getText(`${wish.baseUrl}/clientresult/${connection.connectionId}`);
    for (const [answer, expected] of [
      [() => 10, "10"],
      [
        () => {
          throw new Error("from callback");
        },
        "Error: from callback",
      ],
      [() => {}, "Client didn't provide a result."],
    ]) {
      connection.on("Result", answer);
      equal(await within(ask(), "the answer"), expected);
      connection.off("Result");
    }
  },
  async "an authorized hub"(wish) {
    const path = "/authorizedhub";
    const token = await getText(`${wish.baseUrl}/generateJwtToken?lifetime=30`);
    for (const accessTokenFactory of [() => token, () => Promise.resolve(token)]) {
      const connection = await start(wish, { path, http: { accessTokenFactory } });
      equal(await connection.invoke("WhoAmI"), "testuser");
      await connection.stop();
    }
    await rejects(
      make(wish, { path }).start(),
      /^Failed to complete negotiation with the server: .*Status code '401'$/,
    );
  },
  async "cookies and the user agent"(wish) {
    const connection = await start(wish);
    equal(await connection.invoke("GetCookie", "testCookie"), "testValue");
    equal(await connection.invoke("GetCookie", "testCookie2"), "testValue2");
    equal(await connection.invoke("GetCookie", "expiredCookie"), null);
    // WebSockets and event streams of browsers carry no headers of their own.
    if (wish.transport === "LongPolling") {
      const agent = await connection.invoke("GetHeader", "X-SignalR-User-Agent");
      if (!/^Microsoft SignalR\/10\./.test(agent)) throw new Error(`The agent is ${agent}.`);
    }
  },
  async "reconnects with a new id"(wish) {
    const connection = await start(wish, { reconnect: [0] });
    const first = connection.connectionId;
    const reconnected = within(
      new Promise((resolve) => connection.onreconnected(resolve)),
      "reconnected",
    );
    connection.serverTimeout();
    const id = await reconnected;
    if (id === first) throw new Error("The id is the same.");
    equal(await connection.invoke("GetCallerConnectionId"), id);
  },
  async "the server's redirect"(wish) {
    const connection = await start(wish, { path: `/redirect?baseUrl=${wish.baseUrl}` });
    equal(await connection.invoke("GetNumRedirects"), 1);
  },
  async "closes when the server does"(wish) {
    const connection = await start(wish, { path: "/wire" });
    const closed = within(
      new Promise((resolve) => connection.onclose((error) => resolve(error?.message ?? "none"))),
      "closed",
    );
    await connection.send("Abort");
    equal(await closed, "none");
  },
};

/** Without naming a transport. */
const singleCases = {
  async "chooses WebSockets"(wish) {
    const connection = await start(wish);
    equal(await connection.invoke("GetActiveTransportName"), "WebSockets");
  },
  async "falls back where there are no WebSockets"(wish) {
    const connection = await start(wish, { path: "/testhub-nowebsockets" });
    const expected = wish.protocol === "json" ? "ServerSentEvents" : "LongPolling";
    equal(await connection.invoke("GetActiveTransportName"), expected);
  },
  async "falls back when WebSockets fail"(wish) {
    class BrokenWebSocket {
      constructor() {
        throw new Error("Kick rocks");
      }
    }
    const connection = await start(wish, { http: { WebSocket: BrokenWebSocket } });
    const expected = wish.protocol === "json" ? "ServerSentEvents" : "LongPolling";
    equal(await connection.invoke("GetActiveTransportName"), expected);
  },
  async "without negotiation"(wish) {
    const http = { skipNegotiation: true, transport: signalR.HttpTransportType.WebSockets };
    const connection = await start(wish, { http });
    equal(connection.connectionId, null);
    equal(await connection.invoke("Echo", text), text);
  },
  async "a bare WebSocket echoes and closes with 1000"(wish) {
    const socket = new WebSocket(`${wish.baseUrl.replace("http", "ws")}/echo`);
    const message = new Promise((resolve) => {
      socket.onmessage = ({ data }) => resolve(data);
    });
    socket.onopen = () => socket.send("Hello");
    equal(await within(message, "the echo"), "Hello");
    const closed = new Promise((resolve) => {
      socket.onclose = ({ code, wasClean }) => resolve({ code, wasClean });
    });
    socket.close(1000);
    equal(await within(closed, "the close"), { code: 1000, wasClean: true });
  },
};

globalThis.caseNames = { matrix: Object.keys(cases), single: Object.keys(singleCases) };

/** @returns Why the case failed; undefined if it did not. */
globalThis.runCase = async (name, target) => {
  const wish = { ...target, cleanups: [] };
  try {
    await (cases[name] ?? singleCases[name])(wish);
    return undefined;
  } catch (error) {
    return String(error?.stack ?? error);
  } finally {
    for (const cleanup of wish.cleanups) await cleanup();
  }
};
