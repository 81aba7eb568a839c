import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CallList } from "#dist/hub/call-list.js";
import { HubCall } from "#dist/hub/hub-call.js";

const callOf = (id: string) => new HubCall(undefined as never, id, false);

describe("CallList", () => {
  it("finds what is added until it is deleted, in any order", () => {
    for (const order of ["abc", "acb", "bac", "bca", "cab", "cba"]) {
      const list = new CallList();
      const calls = new Map([..."abc"].map((id) => [id, callOf(id)]));
      for (const call of calls.values()) list.add(call);
      let size = 3;
      for (const id of order) {
        const call = calls.get(id) as HubCall;
        assert.equal(list.find(id), call);
        list.delete(call);
        list.delete(call);
        assert.equal(list.find(id), undefined);
        assert.equal(list.size, --size);
      }
    }
  });

  it("does not find an answered call", () => {
    const list = new CallList();
    const call = callOf("1");
    list.add(call);
    call.isAnswered = true;
    assert.equal(list.find("1"), undefined);
  });

  it("cancels all, though canceling takes others out", () => {
    const list = new CallList();
    const calls = [callOf("1"), callOf("2"), callOf("3")];
    for (const call of calls) {
      list.add(call);
      call.onCancel = () => {
        for (const other of calls) list.delete(other);
      };
    }
    list.cancelAll();
    assert.deepEqual(
      calls.map(({ isCanceled }) => isCanceled),
      [true, true, true],
    );
    assert.equal(list.size, 0);
  });
});
