import { after } from "node:test";
import { startOracle } from "./dotnet.js";
import { allGroups } from "./suite/all.js";
import { playAll } from "./suite/case.js";

const target = await startOracle();
after(() => target.stop());
const only = process.env.ONLY;
playAll(
  allGroups.filter((g) => !only || g.title.includes(only)),
  target,
);
