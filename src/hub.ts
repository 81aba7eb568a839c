export { mapConnection } from "./adapters/node-http.js";
