/** The suites against Halyard. */
import { after } from "node:test";
import { startApp } from "./app.js";
import { allGroups } from "./suite/all.js";
import { playAll } from "./suite/case.js";

// The certificate of the secure address is known to nobody.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";

const target = await startApp();
after(() => target.stop());
playAll(allGroups, target);
