import { bilingual } from "/shared/texts.js";
import { messages } from "./messages.js";

const maximumRows = 1000;
const maximumBytesShown = 64;
const defaultUrl = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`;

const byId = (id) => document.getElementById(id);
const [connectForm, messageForm] = [byId("connect-form"), byId("message-form")];
const [urlBox, messageBox] = [byId("url"), byId("message")];
const [connectButton, closeButton] = [byId("connect"), byId("close")];
const [statusLine, urlProblem] = [byId("status"), byId("url-problem")];
const [log, rows] = [byId("log"), byId("rows")];

const { say } = bilingual(messages);
let socket;
let scrollPlanned = false;

// ---- state -------------------------------------------------------------------------------------

/** `state` is one of ready, connecting, open, closed; each is also the key of its text. */
function showState(state) {
  document.body.dataset.state = state;
  say(statusLine, state);
  enable(connectForm, state === "ready" || state === "closed");
  enable(messageForm, state === "open");
}

function enable(form, enabled) {
  for (const control of form.elements) control.disabled = !enabled;
}

/** Whoever is reading the log or choosing a language keeps the focus. */
function offerFocus(control) {
  const active = document.activeElement;
  if (!active || active === document.body || active.closest("form")) control.focus();
}

function showUrlProblem(key, ...parts) {
  say(urlProblem, key, ...parts);
  urlBox.setAttribute("aria-invalid", "true");
  urlBox.focus();
}

function clearUrlProblem() {
  delete urlProblem.dataset.text;
  urlProblem.textContent = "";
  urlBox.removeAttribute("aria-invalid");
}

// ---- log ---------------------------------------------------------------------------------------

function logEvent(key, ...parts) {
  const cell = document.createElement("td");
  cell.colSpan = 3;
  cell.className = "event";
  say(cell, key, ...parts);
  appendRow(cell);
}

function logMessage(from, to, data) {
  appendRow(peerCell(from), peerCell(to), dataCell(data));
}

function peerCell(peer) {
  const chip = document.createElement("span");
  chip.className = `chip ${peer}`;
  say(chip, peer);
  const cell = document.createElement("td");
  cell.append(chip);
  return cell;
}

function dataCell(data) {
  const cell = document.createElement("td");
  cell.className = "data";
  if (typeof data === "string") cell.textContent = data;
  else say(cell, "binary", data.byteLength, hexadecimal(data));
  return cell;
}

function hexadecimal(buffer) {
  const shown = new Uint8Array(buffer, 0, Math.min(buffer.byteLength, maximumBytesShown));
  const bytes = Array.from(shown, (byte) => byte.toString(16).padStart(2, "0"));
  return bytes.join(" ") + (buffer.byteLength > shown.length ? " …" : "");
}

function appendRow(...cells) {
  followNewest();
  const row = document.createElement("tr");
  row.append(...cells);
  rows.append(row);
  if (rows.children.length > maximumRows) rows.firstElementChild.remove();
}

/**
 * Scrolls to the newest row, unless the reader has scrolled up to an older one. Once for each
 * picture on the screen: to measure at every row would make a burst of messages slow.
 */
function followNewest() {
  if (scrollPlanned) return;
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 8;
  scrollPlanned = true;
  requestAnimationFrame(() => {
    scrollPlanned = false;
    if (atEnd) log.scrollTop = log.scrollHeight;
  });
}

// ---- socket ------------------------------------------------------------------------------------

/** The key of what is wrong with an address; browsers differ in what they accept, this does not. */
function problemOf(url) {
  if (!/^wss?:\/\//i.test(url) || !URL.canParse(url)) return "urlInvalid";
  return url.includes("#") ? "urlFragment" : undefined;
}

function connect() {
  clearUrlProblem();
  // An address copied from the browser's address bar means the WebSocket at the same place.
  urlBox.value = urlBox.value.trim().replace(/^http(?=s?:\/\/)/i, "ws");
  const problem = problemOf(urlBox.value);
  if (problem) showUrlProblem(problem, defaultUrl);
  else openSocket(urlBox.value);
}

function openSocket(url) {
  try {
    socket = new WebSocket(url);
  } catch (error) {
    showUrlProblem("urlRefused", error.message); // a forbidden port, or ws: from an https: page
    return;
  }
  socket.binaryType = "arraybuffer";
  socket.addEventListener("open", opened);
  socket.addEventListener("message", ({ data }) => logMessage("server", "client", data));
  socket.addEventListener("close", closed);
  showState("connecting");
}

function opened() {
  showState("open");
  logEvent("connectionOpened");
  offerFocus(messageBox);
}

function closed({ code, reason }) {
  showState("closed");
  logEvent("connectionClosed", code, reason);
  offerFocus(connectButton);
}

/** The closing handshake may still be under way, when the browser would drop the message. */
function send() {
  if (socket?.readyState !== WebSocket.OPEN) return;
  socket.send(messageBox.value);
  logMessage("client", "server", messageBox.value);
}

// ---- start -------------------------------------------------------------------------------------

function onSubmit(form, action) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    action();
  });
}

onSubmit(connectForm, connect);
onSubmit(messageForm, send);
closeButton.addEventListener("click", () => socket?.close(1000, "Closing from client"));
urlBox.addEventListener("input", clearUrlProblem);

urlBox.value = defaultUrl;
showState("ready");
