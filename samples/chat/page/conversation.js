const maximumEntries = 500;
const timeToAnswer = 25_000;

/**
 * The log of a conversation: messages, events, and questions with their answers.
 *
 * @param log - The element to fill.
 * @param say - Gives an element its text, as of `bilingual`.
 */
export function createConversation(log, say) {
  let scrollPlanned = false;

  /** In the order of the numbers: what is streamed from the past may come late. */
  function showMessage({ id, from, text, at }, isOwn) {
    const elementId = `message-${id}`;
    if (document.getElementById(elementId)) return;
    const message = element("article", isOwn ? "message own" : "message");
    message.id = elementId;
    message.dataset.number = id;
    const who = element("p", "who", from);
    who.append(timeOf(at));
    message.append(who, element("p", "text", text));
    const later = [...log.querySelectorAll(".message")].find((each) => each.dataset.number > id);
    add(message, later);
  }

  function showEvent(key, ...parts) {
    const event = element("p", "event");
    say(event, key, ...parts);
    add(event);
  }

  /** Our own question. @returns Shows how it stands. */
  function showOwnQuestion(question) {
    const { card, outcome } = cardOf(question, "youAsk");
    card.classList.add("own");
    add(card);
    return ({ yes, no, waiting }) => {
      if (yes + no + waiting === 0) say(outcome, "nobody");
      else say(outcome, "tally", yes, no, waiting);
    };
  }

  /** Somebody else's question. @returns The answer; rejects when it does not come in time. */
  function askReader(from, question) {
    const { card, outcome } = cardOf(question, "asks", from);
    const buttons = element("p", "answers");
    card.insertBefore(buttons, outcome);
    return new Promise((resolve, reject) => {
      const settle = (key, ...parts) => {
        clearTimeout(timer);
        const hadFocus = buttons.contains(document.activeElement);
        buttons.remove();
        say(outcome, key, ...parts);
        if (hadFocus) document.getElementById("message").focus();
      };
      const timer = setTimeout(() => {
        settle("tooLate");
        reject(new Error("No answer."));
      }, timeToAnswer);
      for (const answer of ["yes", "no"]) {
        const button = element("button");
        button.type = "button";
        say(button, answer);
        button.addEventListener("click", () => {
          settle("youSay", answer === "yes");
          resolve(answer === "yes");
        });
        buttons.append(button);
      }
      add(card);
    });
  }

  function cardOf(question, key, ...parts) {
    const card = element("article", "message question");
    const who = element("p", "who");
    say(who, key, ...parts);
    const outcome = element("p", "outcome");
    card.append(who, element("p", "text", question), outcome);
    return { card, outcome };
  }

  function add(entry, before = null) {
    followNewest();
    log.insertBefore(entry, before);
    if (log.children.length > maximumEntries) log.firstElementChild.remove();
  }

  /** Scrolls to the newest entry, unless the reader has scrolled up to an older one. */
  function followNewest() {
    if (scrollPlanned) return;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 8;
    scrollPlanned = true;
    requestAnimationFrame(() => {
      scrollPlanned = false;
      if (atEnd) log.scrollTop = log.scrollHeight;
    });
  }

  return { showMessage, showEvent, showOwnQuestion, askReader };
}

function element(name, className = "", text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function timeOf(at) {
  const date = new Date(at);
  const time = element("time", "", date.toLocaleTimeString([], { timeStyle: "short" }));
  time.dateTime = date.toISOString();
  return time;
}
