import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { messagePack } from "halyard/messagepack";
import { Hub, json } from "#dist/hub/index.js";
import { HubMethods } from "#dist/hub/methods.js";
import { clientOf, handlerOf } from "../support/fake-connection.js";

const secret = Symbol("secret");
const ran: string[] = [];

class BaseHub extends Hub {
  inherited() {
    ran.push("inherited");
  }
}

class NamedHub extends BaseHub {
  static factory() {
    ran.push("factory");
  }
  own() {
    return "own";
  }
  "two words"() {
    return "two words";
  }
  ünï() {
    return "ünï";
  }
  #hidden() {
    ran.push("#hidden");
  }
  get accessor() {
    ran.push("accessor");
    return () => ran.push("the accessor's function");
  }
  set accessor(_value) {
    ran.push("setter");
  }
  [secret]() {
    ran.push("symbol");
  }
  useHidden() {
    return typeof this.#hidden;
  }
  override onConnected() {
    ran.push("onConnected");
  }
  override onDisconnected() {
    ran.push("onDisconnected");
  }
  override onAuthenticationRefreshed() {
    ran.push("onAuthenticationRefreshed");
  }
  // Names of the life cycle belong to nobody else, whatever their case.
  OnConnected() {
    ran.push("OnConnected");
  }
  field = () => ran.push("field");
}
Object.defineProperty(NamedHub.prototype, "value", { value: { call: () => ran.push("value") } });
Object.defineProperty(NamedHub.prototype, "toString", { value: () => ran.push("toString") });

describe("methods that clients can call", () => {
  it("are the class's own", () => {
    const { names } = new HubMethods(NamedHub, undefined);
    assert.deepEqual(names.sort(), ["own", "two words", "useHidden", "ünï"]);
  });

  for (const protocol of [json(), messagePack()]) {
    it(`are found without regard to case over ${protocol.name}`, async () => {
      const client = clientOf(NamedHub, {}, { protocol });
      for (const [target, result] of [
        ["own", "own"],
        ["OWN", "own"],
        ["Own", "own"],
        ["Two Words", "two words"],
        ["ÜNÏ", "ünï"],
        ["usehidden", "function"],
      ] as const) {
        assert.deepEqual(await client.invoke(target), { result });
      }
      client.end();
    });

    const never = [
      "inherited",
      "factory",
      "#hidden",
      "hidden",
      "accessor",
      "get accessor",
      "Symbol(secret)",
      "field",
      "value",
      "constructor",
      "Constructor",
      "onConnected",
      "OnConnected",
      "ONDISCONNECTED",
      "onAuthenticationRefreshed",
      "clients",
      "groups",
      "context",
      "signal",
      "toString",
      "valueOf",
      "hasOwnProperty",
      "__proto__",
      "__defineGetter__",
      "prototype",
      "then",
      "own ",
      " own",
      "own\u0000",
    ];
    it(`are no others over ${protocol.name}`, async () => {
      const client = clientOf(NamedHub, {}, { protocol });
      await client.invoke("own");
      ran.length = 0;
      for (const target of never) {
        const error = `Failed to invoke '${target}' due to an error on the server. HubException: Method does not exist.`;
        assert.deepEqual(await client.invoke(target), { error });
        const id = client.stream(target);
        assert.deepEqual(await client.next(), { id, error });
      }
      assert.deepEqual(ran, []);
      client.end();
    });
  }

  it("must differ in more than case", () => {
    class TwiceHub extends Hub {
      send() {}
      Send() {}
    }
    assert.throws(
      () => handlerOf(TwiceHub),
      /^TypeError: Duplicate definitions of 'Send'\. Overloading is not supported\.$/,
    );
  });

  it("belong to a hub", () => {
    class NoHub {}
    for (const wrong of [NoHub, Hub, {}, null, undefined, () => {}]) {
      assert.throws(() => handlerOf(wrong as never), TypeError);
    }
  });
});
