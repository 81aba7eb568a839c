import { describeTransport } from "../specs/transport-suite.js";

describeTransport("LongPolling");
