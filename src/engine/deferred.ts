export * from "../deferred.js";
