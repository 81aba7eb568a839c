import assert from "node:assert/strict";
import type { IncomingMessage } from "node:http";
import { describe, it } from "node:test";
import { originPolicy } from "#dist/engine/origin.js";

type Allowed = Parameters<typeof originPolicy>[0];

function requestTo(host: string | undefined, { secure = false } = {}): IncomingMessage {
  const socket = secure ? { encrypted: true } : {};
  return { headers: { host }, socket } as unknown as IncomingMessage;
}

describe("the same origin", () => {
  const rows: readonly (readonly [
    origin: string,
    host: string | undefined,
    passes: boolean,
    secure?: boolean,
  ])[] = [
    ["http://example.com", "example.com", true],
    ["http://example.com:8080", "example.com:8080", true],
    ["HTTP://EXAMPLE.COM", "example.com", true],
    ["http://example.com", "EXAMPLE.com", true],
    ["http://example.com", "example.com:80", true],
    ["http://example.com:80", "example.com", true],
    ["https://example.com", "example.com:443", true],
    ["http://[::1]:8080", "[::1]:8080", true],
    ["http://b\u00fccher.example", "xn--bcher-kva.example", true],
    // A proxy may have ended TLS; but where it ends here, a page without it is another origin.
    ["https://example.com", "example.com", true],
    ["https://example.com", "example.com", true, true],
    ["http://example.com", "example.com", false, true],
    ["http://example.com", "example.com:8080", false],
    ["http://example.com:8080", "example.com", false],
    ["https://example.com", "example.com:80", false],
    ["http://example.com", "example.org", false],
    ["http://sub.example.com", "example.com", false],
    ["http://example.com.evil.example", "example.com", false],
    ["http://example.com@evil.example", "example.com", false],
    ["null", "example.com", false],
    ["null", "null", false],
    ["file://", "example.com", false],
    ["example.com", "example.com", false],
    ["http://example.com, http://evil.example", "example.com", false],
    ["http://example.com", undefined, false],
    ["http://example.com", "", false],
    ["http://example.com", "exa mple.com", false],
  ];
  for (const [origin, host, passes, secure = false] of rows) {
    const how = `${secure ? "TLS " : ""}Host ${host}`;
    it(`${passes ? "is" : "is not"} ${origin} for ${how}`, () => {
      for (const allowed of [undefined, "same-origin"] as const) {
        assert.equal(originPolicy(allowed)(origin, requestTo(host, { secure })), passes);
      }
    });
  }
});

describe("a list of origins", () => {
  const rows: readonly (readonly [allowed: Allowed, origin: string, passes: boolean])[] = [
    [["https://example.com"], "https://example.com", true],
    [["https://example.com"], "HTTPS://Example.COM", true],
    [["HTTPS://Example.COM"], "https://example.com", true],
    [["https://example.com/"], "https://example.com", true],
    [["https://example.com:443"], "https://example.com", true],
    [["http://example.com:80"], "http://example.com", true],
    [["https://example.com:8443"], "https://example.com:8443", true],
    [["https://example.com:8443"], "https://example.com", false],
    [["https://example.com"], "http://example.com", false],
    [["https://example.com"], "https://sub.example.com", false],
    [["https://a.example", "https://b.example"], "https://b.example", true],
    [["https://a.example"], "https://same.example", false],
    [["https://a.example"], "null", false],
    [["null"], "null", true],
    [["capacitor://localhost"], "capacitor://localhost", true],
    [["chrome-extension://abcdef"], "chrome-extension://abcdef", true],
    [["chrome-extension://abcdef"], "chrome-extension://other", false],
    [[], "https://same.example", false],
    ["*", "https://anything.example", true],
    ["*", "null", true],
    [["https://a.example", "*"], "https://anything.example", true],
  ];
  for (const [allowed, origin, passes] of rows) {
    it(`${JSON.stringify(allowed)} ${passes ? "lets" : "does not let"} ${origin} pass`, () => {
      assert.equal(originPolicy(allowed)(origin, requestTo("same.example")), passes);
    });
  }
});

describe("what is not an origin", () => {
  const wrong: readonly unknown[] = [
    "https://example.com",
    "",
    null,
    true,
    ["example.com"],
    ["example.com:8080"],
    ["localhost:3000"],
    ["//example.com"],
    ["https://example.com/path"],
    ["https://example.com?query"],
    ["https://example.com#part"],
    ["https://user@example.com"],
    ["https://*.example.com"],
    ["mailto:somebody@example.com"],
    ["https://"],
    [""],
    [undefined],
    [5],
    [/example/],
  ];
  for (const allowed of wrong) {
    it(`throws for ${JSON.stringify(allowed)} (${typeof allowed})`, () => {
      assert.throws(() => originPolicy(allowed as Allowed), {
        name: "TypeError",
        message: /^allowedOrigins/,
      });
    });
  }
});
