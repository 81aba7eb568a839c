// `npm run mask`: assembles src/protocol/mask.wat and prints what mask.ts has to carry.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import createWabt from "wabt";

/** The module in base64. */
export async function assembleMask() {
  const wabt = await createWabt();
  const source = readFileSync(new URL("../src/protocol/mask.wat", import.meta.url), "utf8");
  const module = wabt.parseWat("mask.wat", source, { simd: true });
  module.validate();
  return Buffer.from(module.toBinary({}).buffer).toString("base64");
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  console.log((await assembleMask()).match(/.{1,84}/g).join("\n"));
}
