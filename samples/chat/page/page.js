import { bilingual } from "/shared/texts.js";
import { createConnection } from "./connection.js";
import { createConversation } from "./conversation.js";
import { messages } from "./messages.js";

const typingShown = 3_000;
const typingTold = 2_000;

const byId = (id) => document.getElementById(id);
const [joinForm, sayForm, connectionFacts] = ["join-form", "say-form", "connection"].map(byId);
const [nameBox, roomBox, messageBox] = ["name", "room", "message"].map(byId);
const [transportBox, protocolBox, textOnly] = ["transport", "protocol", "text-only"].map(byId);
const [statusLine, problemLine, typingLine] = ["status", "problem", "typing"].map(byId);
const [joinButton, leaveButton, askButton] = ["join", "leave", "ask"].map(byId);

const { say } = bilingual(messages);
const conversation = createConversation(byId("log"), say);
let connection;
let ownId;
let toldTypingAt = 0;
let typingTimer;

// ---- state -------------------------------------------------------------------------------------

/** `state` is one of ready, connecting, open, reconnecting, closed; each is the key of its text. */
function showState(state) {
  const isOut = state === "ready" || state === "closed";
  document.body.dataset.state = state === "reconnecting" ? "connecting" : state;
  say(statusLine, state);
  enable(joinForm, isOut);
  enable(sayForm, state === "open");
  joinForm.hidden = state === "open" || state === "reconnecting";
  connectionFacts.hidden = !joinForm.hidden;
  if (isOut) showPeople([]);
}

function enable(form, enabled) {
  for (const control of form.elements) control.disabled = !enabled;
}

function showProblem(error) {
  say(problemLine, "problem", error.message);
}

function clearProblem() {
  delete problemLine.dataset.text;
  problemLine.textContent = "";
}

function showPeople(names) {
  const items = names.map((name) => {
    const item = document.createElement("li");
    item.textContent = name;
    return item;
  });
  byId("people").replaceChildren(...items);
}

function showConnection({ connectionId, transport, protocol }) {
  ownId = connectionId;
  byId("room-fact").textContent = roomBox.value;
  byId("transport-fact").textContent = transport;
  byId("protocol-fact").textContent = protocol;
  byId("id-fact").textContent = connectionId;
}

function showTyping(name) {
  say(typingLine, "typing", name);
  clearTimeout(typingTimer);
  typingTimer = setTimeout(hideTyping, typingShown);
}

function hideTyping() {
  delete typingLine.dataset.text;
  typingLine.textContent = "";
}

/** Event streams carry text only, and MessagePack is bytes. */
function offerProtocols() {
  const isTextOnly = transportBox.value === "ServerSentEvents";
  protocolBox.querySelector("[value=messagepack]").disabled = isTextOnly;
  if (isTextOnly) protocolBox.value = "json";
  textOnly.hidden = !isTextOnly;
}

// ---- the hub -----------------------------------------------------------------------------------

async function join() {
  clearProblem();
  showState("connecting");
  connection = createConnection(transportBox.value, protocolBox.value);
  listen(connection);
  try {
    await connection.start();
    await enter();
    messageBox.focus();
  } catch (error) {
    showProblem(error);
    await connection.stop();
    showState("closed");
  }
}

/** What the hub calls. */
function listen(hub) {
  hub.on("message", (message) => {
    hideTyping();
    conversation.showMessage(message, message.by === ownId);
  });
  hub.on("people", showPeople);
  hub.on("arrived", (name) => conversation.showEvent("arrived", name));
  hub.on("left", (name) => conversation.showEvent("left", name));
  hub.on("typing", showTyping);
  // What this handler returns is the result that the hub waits for.
  hub.on("confirm", (from, question) => {
    hideTyping();
    return conversation.askReader(from, question);
  });
  hub.on("answered", (name, question, { yes, no }) =>
    conversation.showEvent("answered", name, question, yes, no),
  );
  hub.onreconnecting(() => {
    showState("reconnecting");
    conversation.showEvent("lost");
  });
  // A new connection: the hub knows nothing of the old one's room.
  hub.onreconnected(() => enter().then(() => conversation.showEvent("back"), showProblem));
  hub.onclose((error) => {
    if (error) showProblem(error);
    showState("closed");
    joinButton.focus();
  });
}

async function enter() {
  showConnection(await connection.invoke("join", nameBox.value, roomBox.value));
  connection.stream("history").subscribe({
    next: (message) => conversation.showMessage(message, message.by === ownId),
    error: showProblem,
    complete: () => {},
  });
  showState("open");
}

async function send() {
  const text = messageBox.value.trim();
  if (text === "") return;
  clearProblem();
  emptyMessageBox();
  try {
    await connection.invoke("say", text);
  } catch (error) {
    messageBox.value ||= text;
    showProblem(error);
  }
}

function ask() {
  const question = messageBox.value.trim();
  messageBox.focus();
  if (question === "") return;
  clearProblem();
  emptyMessageBox();
  const showTally = conversation.showOwnQuestion(question);
  connection
    .stream("ask", question)
    .subscribe({ next: showTally, error: showProblem, complete: () => {} });
}

function emptyMessageBox() {
  messageBox.value = "";
  toldTypingAt = 0;
}

/** At most once every two seconds, and nobody waits for an answer. */
function tellTyping() {
  if (messageBox.value === "" || Date.now() - toldTypingAt < typingTold) return;
  toldTypingAt = Date.now();
  connection.send("typing").catch(() => {});
}

// ---- start -------------------------------------------------------------------------------------

function onSubmit(form, action) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    action();
  });
}

onSubmit(joinForm, join);
onSubmit(sayForm, send);
askButton.addEventListener("click", ask);
leaveButton.addEventListener("click", () => connection.stop());
messageBox.addEventListener("input", tellTyping);
transportBox.addEventListener("change", offerProtocols);

showState("ready");
offerProtocols();
