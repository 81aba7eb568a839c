import type { Case, Subject } from "../peer.js";
import { autoFragmentation } from "./auto-fragmentation.js";
import { closing } from "./close.js";
import { compression } from "./compression.js";
import { compressionOffers } from "./compression-offers.js";
import { fragmentation } from "./fragmentation.js";
import { framing } from "./framing.js";
import { limits } from "./limits.js";
import { opcodes } from "./opcodes.js";
import { pings } from "./pings.js";
import { reservedBits } from "./reserved-bits.js";
import { utf8 } from "./utf8.js";

/** Every group's cases, in the order of their ids. */
export function allCases(subject: Subject): Case[] {
  return [
    ...framing(subject),
    ...pings(),
    ...reservedBits(),
    ...opcodes(),
    ...fragmentation(),
    ...utf8(),
    ...closing(),
    ...limits(subject),
    ...autoFragmentation(subject),
    ...compression(subject),
    ...compressionOffers(),
  ];
}
