import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { HandshakeError } from "halyard";
import {
  AnswerBody,
  checkAnswer,
  checkSubprotocols,
  createKey,
  type HandshakeAnswer,
  type HandshakeOffer,
  isRedirect,
  maxAnswerBody,
  parseTarget,
  type RequestHeaders,
  redirectTarget,
  refused,
  requestHeaders,
} from "#dist/protocol/client-handshake.js";
import type { DeflateWishes } from "#dist/protocol/deflate-offer.js";

// The pair that RFC 6455 §1.3 gives as its example.
const key = "dGhlIHNhbXBsZSBub25jZQ==";
const accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const offer = (changes: Partial<HandshakeOffer> = {}): HandshakeOffer => ({
  key,
  subprotocols: [],
  ...changes,
});

const deflate: DeflateWishes = {
  serverContextTakeover: true,
  clientContextTakeover: true,
  serverMaxWindowBits: 15,
  clientMaxWindowBits: 15,
};

const good = ["Upgrade", "websocket", "Connection", "Upgrade", "Sec-WebSocket-Accept", accept];

/** The good answer with one header replaced; several values repeat it, none leaves it out. */
function answer(name: string, ...values: string[]): HandshakeAnswer {
  const rest: string[] = [];
  for (let index = 0; index < good.length; index += 2) {
    if (good[index] !== name) rest.push(good[index] as string, good[index + 1] as string);
  }
  return { status: 101, rawHeaders: [...rest, ...values.flatMap((value) => [name, value])] };
}

describe("the address", () => {
  const rows: [given: string, url: string, authorization?: string][] = [
    ["ws://a.example", "ws://a.example/"],
    ["wss://a.example:444/x?y=z", "wss://a.example:444/x?y=z"],
    ["http://a.example:80/x", "ws://a.example/x"],
    ["https://a.example:443/x", "wss://a.example/x"],
    ["WS://A.example", "ws://a.example/"],
    ["ws://[::1]:8080/", "ws://[::1]:8080/"],
    ["ws://u:p@a.example/", "ws://a.example/", "Basic dTpw"],
    ["ws://u@a.example/", "ws://a.example/", "Basic dTo="],
    ["ws://%C3%A9:%3A%40@a.example/", "ws://a.example/", "Basic w6k6OkA="],
  ];
  for (const [given, url, authorization] of rows) {
    it(`${given} is read`, () => {
      for (const form of [given, new URL(given)]) {
        const target = parseTarget(form);
        assert.equal(target.url.href, url);
        assert.deepEqual(
          target.headers,
          authorization === undefined ? [] : [["Authorization", authorization]],
        );
      }
    });
  }

  it("is not changed in the URL that was given", () => {
    const url = new URL("http://u:p@a.example/");
    parseTarget(url);
    assert.equal(url.href, "http://u:p@a.example/");
  });

  const wrong: [name: string, url: string][] = [
    ["no URL", "secret"],
    ["a relative one", "/secret"],
    ["another scheme", "ftp://secret@a.example/"],
    ["a fragment", "ws://a.example/secret#x"],
    ["an empty fragment", "ws://a.example/secret#"],
    ["an escape that is none", "ws://secret%:p@a.example/"],
    ["credentials that are not UTF-8", "ws://secret%ff@a.example/"],
    ["a colon in the name", "ws://secret%3Ax:p@a.example/"],
  ];
  for (const [name, url] of wrong) {
    it(`is refused for ${name}, and not repeated`, () => {
      assert.throws(
        () => parseTarget(url),
        (error: Error) =>
          error instanceof TypeError &&
          !JSON.stringify(error).includes("secret") &&
          !error.message.includes("secret"),
      );
    });
  }
});

describe("headers of the request", () => {
  it("stand behind those of the handshake, in order", () => {
    const target = parseTarget("ws://a.example:81/", { Cookie: "a=b", "X-Two": ["1", "2"] });
    assert.deepEqual(requestHeaders(target, offer({ subprotocols: ["one", "two"], deflate })), [
      ["Host", "a.example:81"],
      ["Upgrade", "websocket"],
      ["Connection", "Upgrade"],
      ["Sec-WebSocket-Key", key],
      ["Sec-WebSocket-Version", "13"],
      ["Sec-WebSocket-Protocol", "one, two"],
      ["Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"],
      ["Cookie", "a=b"],
      ["X-Two", "1"],
      ["X-Two", "2"],
    ]);
  });

  const forms: [name: string, headers: RequestHeaders, lines: string[][]][] = [
    ["an object", { A: "1", B: undefined, C: [] }, [["A", "1"]]],
    ["Headers", new Headers({ A: "1" }), [["a", "1"]]],
    ["a Map", new Map([["A", "1"]]), [["A", "1"]]],
    [
      "pairs",
      [
        ["A", "1"],
        ["A", "2"],
      ],
      [
        ["A", "1"],
        ["A", "2"],
      ],
    ],
    ["a value with every character allowed", { A: "\t ~\x80\xff" }, [["A", "\t ~\x80\xff"]]],
    ["an empty value", { A: "" }, [["A", ""]]],
  ];
  for (const [name, headers, lines] of forms) {
    it(`come as ${name}`, () => {
      assert.deepEqual(parseTarget("ws://a.example/", headers).headers, lines);
    });
  }

  it("can replace the Host and the credentials of the URL", () => {
    const { headers } = parseTarget("ws://u:p@a.example/", { host: "b", authorization: "x" });
    const lines = requestHeaders({ url: new URL("ws://a.example/"), headers }, offer());
    assert.deepEqual(
      lines.filter(([name]) => /^(host|authorization)$/i.test(name)),
      [
        ["host", "b"],
        ["authorization", "x"],
      ],
    );
  });

  const own = [
    "Connection",
    "connection",
    "Upgrade",
    "Sec-WebSocket-Key",
    "sec-websocket-version",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Accept",
    "Content-Length",
    "Transfer-Encoding",
    "Expect",
    "TE",
    "Trailer",
    "Keep-Alive",
    "Proxy-Connection",
  ];
  for (const name of own) {
    it(`cannot set ${name}`, () => {
      assert.throws(() => parseTarget("ws://a.example/", { [name]: "secret" }), {
        name: "TypeError",
        message: `The header ${name} belongs to the handshake; it cannot be set.`,
      });
    });
  }

  const wrong: [name: string, headers: unknown][] = [
    ["a line feed in a value", { A: "secret\nB: c" }],
    ["a carriage return in a value", { A: "secret\rB: c" }],
    ["a zero in a value", { A: "secret\0" }],
    ["a delete in a value", { A: "secret\x7f" }],
    ["a character beyond Latin-1", { A: "secret\u0100" }],
    ["CR and LF in a name", { "A: b\r\nC": "secret" }],
    ["a space in a name", { "A b": "secret" }],
    ["an empty name", { "": "secret" }],
    ["a number as the value", { A: 1 }],
    ["null as the value", { A: null }],
    ["a bad value in a list", { A: ["fine", "secret\r\n"] }],
    ["two hosts", { Host: ["a", "b"] }],
    ["two hosts in two spellings", { Host: "a", host: "b" }],
    ["pairs that are none", [1]],
  ];
  for (const [name, headers] of wrong) {
    it(`are refused for ${name}, the value not repeated`, () => {
      assert.throws(
        () => parseTarget("ws://a.example/", headers as RequestHeaders),
        (error: Error) => error instanceof TypeError && !error.message.includes("secret"),
      );
    });
  }
});

describe("subprotocols to offer", () => {
  const good: [given: string | string[], list: string[]][] = [
    [[], []],
    ["chat", ["chat"]],
    [
      ["b", "a", "B"],
      ["b", "a", "B"],
    ],
  ];
  for (const [given, list] of good) {
    it(`${JSON.stringify(given)} is offered`, () => {
      assert.deepEqual(checkSubprotocols(given), list);
    });
  }

  const wrong: unknown[] = ["", "a b", "a,b", "a\r\nb", "é", [""], ["a", "a"], [1], [undefined]];
  for (const given of wrong) {
    it(`${JSON.stringify(given)} is refused`, () => {
      assert.throws(() => checkSubprotocols(given as string[]), TypeError);
    });
  }
});

describe("the key", () => {
  it("is 16 bytes in base64, another each time", () => {
    const keys = Array.from({ length: 100 }, createKey);
    for (const one of keys) assert.equal(Buffer.from(one, "base64").length, 16);
    for (const one of keys) assert.equal(one.length, 24);
    assert.equal(new Set(keys).size, keys.length);
  });
});

describe("the answer", () => {
  const accepted: [
    name: string,
    answer: HandshakeAnswer,
    offer?: HandshakeOffer,
    agreed?: object,
  ][] = [
    ["the plain one", answer("X", "y")],
    ["Upgrade in other letters", answer("Upgrade", "WebSocket")],
    ["Connection as a list", answer("Connection", "keep-alive, UPGRADE")],
    ["Connection in two lines", answer("Connection", "keep-alive", "upgrade")],
    [
      "header names in other letters",
      {
        status: 101,
        rawHeaders: good.map((text, index) => (index % 2 ? text : text.toUpperCase())),
      },
    ],
    ["no subprotocol though some were offered", answer("X"), offer({ subprotocols: ["a"] })],
    [
      "an offered subprotocol",
      answer("Sec-WebSocket-Protocol", "b"),
      offer({ subprotocols: ["a", "b"] }),
      { subprotocol: "b", deflate: undefined },
    ],
    [
      "an offered extension",
      answer("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits=10"),
      offer({ deflate }),
      {
        subprotocol: undefined,
        deflate: {
          serverNoContextTakeover: false,
          clientNoContextTakeover: false,
          serverMaxWindowBits: 15,
          clientMaxWindowBits: 10,
        },
      },
    ],
    [
      "no extension though one was offered",
      answer("X"),
      offer({ deflate }),
      { subprotocol: undefined, deflate: undefined },
    ],
  ];
  for (const [name, given, offered = offer(), agreed] of accepted) {
    it(`is good: ${name}`, () => {
      assert.deepEqual(
        checkAnswer(given, offered),
        agreed ?? { subprotocol: undefined, deflate: undefined },
      );
    });
  }

  const wrong: [name: string, code: string, answer: HandshakeAnswer, offer?: HandshakeOffer][] = [
    ["status 200", "STATUS", { status: 200, rawHeaders: good }],
    ["status 100", "STATUS", { status: 100, rawHeaders: good }],
    ["status 426", "STATUS", { status: 426, rawHeaders: [] }],
    ["no Upgrade", "UPGRADE", answer("Upgrade")],
    ["another Upgrade", "UPGRADE", answer("Upgrade", "h2c")],
    ["two protocols in Upgrade", "UPGRADE", answer("Upgrade", "websocket, h2c")],
    ["two Upgrade lines", "UPGRADE", answer("Upgrade", "websocket", "websocket")],
    ["no Connection", "CONNECTION", answer("Connection")],
    ["another Connection", "CONNECTION", answer("Connection", "close")],
    ["a longer word in Connection", "CONNECTION", answer("Connection", "upgrades")],
    ["no accept", "ACCEPT", answer("Sec-WebSocket-Accept")],
    ["an empty accept", "ACCEPT", answer("Sec-WebSocket-Accept", "")],
    ["a wrong accept", "ACCEPT", answer("Sec-WebSocket-Accept", key)],
    ["accept in other letters", "ACCEPT", answer("Sec-WebSocket-Accept", accept.toLowerCase())],
    ["accept without its padding", "ACCEPT", answer("Sec-WebSocket-Accept", accept.slice(0, -1))],
    ["accept twice in two lines", "ACCEPT", answer("Sec-WebSocket-Accept", accept, accept)],
    ["accept twice in one line", "ACCEPT", answer("Sec-WebSocket-Accept", `${accept}, ${accept}`)],
    ["a wrong accept behind the right one", "ACCEPT", answer("Sec-WebSocket-Accept", accept, "x")],
    ["a subprotocol nobody offered", "SUBPROTOCOL", answer("Sec-WebSocket-Protocol", "a")],
    ["an empty subprotocol", "SUBPROTOCOL", answer("Sec-WebSocket-Protocol", "")],
    [
      "another subprotocol",
      "SUBPROTOCOL",
      answer("Sec-WebSocket-Protocol", "b"),
      offer({ subprotocols: ["a"] }),
    ],
    [
      "a subprotocol in other letters",
      "SUBPROTOCOL",
      answer("Sec-WebSocket-Protocol", "A"),
      offer({ subprotocols: ["a"] }),
    ],
    [
      "two subprotocols in one line",
      "SUBPROTOCOL",
      answer("Sec-WebSocket-Protocol", "a, b"),
      offer({ subprotocols: ["a", "b"] }),
    ],
    [
      "two subprotocol lines",
      "SUBPROTOCOL",
      answer("Sec-WebSocket-Protocol", "a", "b"),
      offer({ subprotocols: ["a", "b"] }),
    ],
    [
      "an extension nobody offered",
      "EXTENSION",
      answer("Sec-WebSocket-Extensions", "permessage-deflate"),
    ],
    ["an empty list of extensions", "EXTENSION", answer("Sec-WebSocket-Extensions", "")],
    ["a name of Object's", "EXTENSION", answer("Sec-WebSocket-Extensions", "__proto__")],
    [
      "another extension beside the offered one",
      "EXTENSION",
      answer("Sec-WebSocket-Extensions", "permessage-deflate, evil; x"),
      offer({ deflate }),
    ],
    [
      "the offered extension with a parameter it does not have",
      "EXTENSION",
      answer("Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=8"),
      offer({ deflate }),
    ],
    [
      "the offered extension in two headers",
      "EXTENSION",
      answer("Sec-WebSocket-Extensions", "permessage-deflate", "permessage-deflate"),
      offer({ deflate }),
    ],
  ];
  for (const [name, code, given, offered = offer()] of wrong) {
    it(`is refused: ${name}`, () => {
      assert.throws(
        () => checkAnswer({ ...given, body: "text" }, offered),
        (error) => {
          assert.ok(error instanceof HandshakeError);
          assert.equal(error.code, `ERR_HANDSHAKE_${code}`);
          assert.equal(error.response?.status, given.status);
          assert.equal(error.response?.body, "text");
          return true;
        },
      );
    });
  }

  it("gives its error the headers, also those with names of Object's", () => {
    const { response, status } = refused("CODE", "why", {
      status: 400,
      rawHeaders: ["X-One", "1", "x-one", "2", "__proto__", "polluted", "constructor", "c"],
    });
    const headers = response?.headers ?? {};
    // A framework that is given this error answers with the status.
    assert.equal(status, 502);
    assert.deepEqual(Object.entries(headers), [
      ["x-one", "1, 2"],
      ["__proto__", "polluted"],
      ["constructor", "c"],
    ]);
    assert.equal(Object.getPrototypeOf(headers), Object.prototype);
  });
});

describe("redirects", () => {
  const redirect = (...locations: string[]): HandshakeAnswer => ({
    status: 302,
    rawHeaders: locations.flatMap((location) => ["Location", location]),
  });
  const secrets = {
    Authorization: "secret",
    cookie: "secret",
    "Proxy-Authorization": "secret",
    Host: "secret",
    "X-Kept": "1",
  };

  for (const [status, expected] of [
    [301, true],
    [302, true],
    [303, true],
    [307, true],
    [308, true],
    [300, false],
    [304, false],
    [305, false],
    [200, false],
    [101, false],
  ] as const) {
    it(`status ${status} ${expected ? "is one" : "is none"}`, () => {
      assert.equal(isRedirect({ status, rawHeaders: ["location", "/x"] }), expected);
      assert.equal(isRedirect({ status, rawHeaders: [] }), false);
    });
  }

  const followed: [name: string, from: string, location: string, to: string, keeps: boolean][] = [
    ["a path", "ws://a.example/x", "/y?z", "ws://a.example/y?z", true],
    ["a relative path", "ws://a.example/x/1", "2", "ws://a.example/x/2", true],
    [
      "the same origin by http",
      "ws://a.example/x",
      "http://a.example:80/y",
      "ws://a.example/y",
      true,
    ],
    [
      "the same origin by https",
      "wss://a.example/x",
      "https://a.example/y",
      "wss://a.example/y",
      true,
    ],
    ["another host", "ws://a.example/", "ws://b.example/", "ws://b.example/", false],
    ["a host below", "ws://a.example/", "ws://x.a.example/", "ws://x.a.example/", false],
    ["another port", "ws://a.example/", "ws://a.example:81/", "ws://a.example:81/", false],
    ["from ws to wss", "ws://a.example/", "https://a.example/", "wss://a.example/", false],
    ["no scheme", "wss://a.example/", "//b.example/", "wss://b.example/", false],
  ];
  for (const [name, from, location, to, keeps] of followed) {
    it(`lead to ${name}${keeps ? "" : ", without secrets"}`, () => {
      const target = redirectTarget(parseTarget(from, secrets), redirect(location));
      assert.equal(target.url.href, to);
      assert.deepEqual(target.headers, keeps ? Object.entries(secrets) : [["X-Kept", "1"]]);
    });
  }

  it("keep credentials of the URL within the origin only", () => {
    const from = parseTarget("ws://u:p@a.example/");
    assert.deepEqual(redirectTarget(from, redirect("/y")).headers, from.headers);
    assert.deepEqual(redirectTarget(from, redirect("ws://b.example/")).headers, []);
  });

  const refusedOnes: [name: string, ...locations: string[]][] = [
    ["from wss to ws", "ws://a.example/"],
    ["from wss to http", "http://a.example/"],
    ["to another scheme", "file:///etc/passwd"],
    ["to what is no URL", "http://["],
    ["to a fragment", "/x#y"],
    ["to two places", "/x", "/y"],
    ["to nowhere"],
  ];
  for (const [name, ...locations] of refusedOnes) {
    it(`are refused ${name}`, () => {
      assert.throws(() => redirectTarget(parseTarget("wss://a.example/"), redirect(...locations)), {
        name: "HandshakeError",
        code: "ERR_HANDSHAKE_REDIRECT",
        status: 502,
      });
    });
  }
});

describe("the body of a refusal", () => {
  it("is kept up to its limit, whatever the pieces", () => {
    for (const size of [1, 1000, maxAnswerBody, maxAnswerBody + 1]) {
      const body = new AnswerBody();
      for (let sent = 0; sent < 2 * maxAnswerBody; sent += size) {
        body.push(Buffer.alloc(size, "x"));
      }
      assert.equal(body.text, "x".repeat(maxAnswerBody));
      assert.ok(body.isFull);
    }
  });

  it("can be known to be shorter", () => {
    const body = new AnswerBody(3);
    assert.equal(body.isFull, false);
    body.push(Buffer.from("abcdef"));
    assert.equal(body.isFull, true);
    assert.equal(body.text, "abc");
  });

  it("leaves out half a character at its end", () => {
    const body = new AnswerBody(4);
    body.push(Buffer.from("aéé"));
    assert.equal(body.text, "aé");
  });
});
