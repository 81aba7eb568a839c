/** Every group of cases. */
import type { Group } from "./case.js";
import { functionalGroups } from "./functional.js";

export const allGroups: readonly Group[] = [...functionalGroups];
