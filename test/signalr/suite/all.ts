/** Every group of cases. */
import type { Group } from "./case.js";
import { functionalGroups } from "./functional.js";
import { closingGroups } from "./wire/closing.js";
import { crowdGroups } from "./wire/crowd.js";
import { dispatchGroup } from "./wire/dispatch.js";
import { handshakeGroup } from "./wire/handshake.js";
import { jsonGroup } from "./wire/json.js";
import { messagePackGroup } from "./wire/messagepack.js";
import { negotiateGroup } from "./wire/negotiate.js";
import { routingGroup } from "./wire/routing.js";
import { statefulGroup } from "./wire/stateful.js";
import { streamGroups } from "./wire/streams.js";
import { transportGroups } from "./wire/transports.js";

export const wireGroups: readonly Group[] = [
  negotiateGroup,
  routingGroup,
  ...transportGroups,
  handshakeGroup,
  jsonGroup,
  messagePackGroup,
  dispatchGroup,
  ...streamGroups,
  ...closingGroups,
  ...crowdGroups,
  statefulGroup,
];

export const allGroups: readonly Group[] = [...functionalGroups, ...wireGroups];
