export * from "../logger.js";
