const languageKey = "halyard.language";

/**
 * Makes a page speak the languages of `messages`, in each of which a text has the same key; a text
 * with parts that vary is a function of those parts. Elements with `data-text` are said at once, and
 * the buttons with `data-language` switch.
 */
export function bilingual(messages) {
  let language = remembered() ?? ofBrowser();

  /** The text for now, for what is no element's text. */
  function text(key, ...parts) {
    const message = messages[language][key];
    return typeof message === "function" ? message(...parts) : message;
  }

  /** The key and parts stay on the element, so that a switch of language can say it again. */
  function say(element, key, ...parts) {
    element.dataset.text = key;
    element.dataset.parts = JSON.stringify(parts);
    render(element);
  }

  function render(element) {
    const parts = JSON.parse(element.dataset.parts ?? "[]");
    element.textContent = text(element.dataset.text, ...parts);
  }

  function use(chosen) {
    language = chosen;
    document.documentElement.lang = chosen;
    for (const element of document.querySelectorAll("[data-text]")) render(element);
    for (const button of document.querySelectorAll("[data-language]")) {
      button.setAttribute("aria-pressed", String(button.dataset.language === chosen));
    }
  }

  function remembered() {
    try {
      const name = localStorage.getItem(languageKey);
      return Object.hasOwn(messages, name) ? name : undefined;
    } catch {
      return undefined; // storage is forbidden: the browser's language decides
    }
  }

  use(language);
  for (const button of document.querySelectorAll("[data-language]")) {
    button.addEventListener("click", () => {
      remember(button.dataset.language);
      use(button.dataset.language);
    });
  }
  return { say, text, language: () => language };
}

function ofBrowser() {
  const known = navigator.languages.find((tag) => /^(en|zh)\b/i.test(tag));
  return known?.toLowerCase().startsWith("zh") ? "zh-Hant" : "en";
}

function remember(name) {
  try {
    localStorage.setItem(languageKey, name);
  } catch {
    // storage is forbidden: the choice lasts as long as the page
  }
}
