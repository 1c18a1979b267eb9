// What a person can do to the run: buttons, and the same by keys.

import { classesLike } from "./choice.js";
import { byId, element, setText } from "./dom.js";

const REASONS = {
  label: "this run takes no labels",
  correct: "labels cannot be corrected in this run",
  retract: "labels cannot be taken back in this run",
  new_class: "classes cannot be added in this run",
  checkpoint: "this run writes no checkpoints",
  save: "the run was started without --save FILE",
  speed: "this source has no speed that could be set",
};

export class Controls {
  constructor(page) {
    this.page = page;
    this.sent = 0;
    this.waiting = new Map(); // id → what was asked for, in words
    this.correcting = false;
    this.away = ""; // why nothing can be done
    this.shown = "";
    for (const button of document.querySelectorAll("button[data-command]")) {
      button.addEventListener("click", () => this.press(button));
    }
    byId("correct").addEventListener("click", () => this.setCorrecting(!this.correcting));
    byId("hold").addEventListener("click", () => {
      const held = byId("hold").getAttribute("aria-pressed") === "true";
      this.command({ name: "hold", value: held ? 0 : 1 }, held ? "go on" : "hold");
    });
    byId("replay-speed").addEventListener("change", (event) => {
      this.command({ name: "speed", value: Number(event.target.value) }, "speed");
    });
    byId("new-class").addEventListener("submit", (event) => {
      event.preventDefault();
      const name = byId("new-name").value.trim();
      if (!name) return;
      if (!this.command({ name: "new_class", text: name }, `new class ${name}`)) return;
      byId("new-name").value = "";
      byId("new-name").blur(); // the next key may be its digit
    });
    byId("by-name").addEventListener("submit", (event) => {
      event.preventDefault();
      this.labelByName();
    });
    document.addEventListener("keydown", (event) => this.key(event));
  }

  showFacts(facts) {
    const can = facts.commands;
    const shown = JSON.stringify([facts.classes, facts.names, can]);
    if (shown === this.shown) return;
    this.shown = shown;
    this.can = can;
    byId("labels").replaceChildren(...facts.classes.map((label) => this.labelButton(label)));
    const named = can.label && facts.classes.some((label) => label < 0 || label > 9);
    byId("by-name").hidden = byId("by-name-key").hidden = !named;
    byId("class-names").replaceChildren(...facts.classes.map((label) => element("option", { value: this.page.name(label) })));
    for (const button of document.querySelectorAll("button[data-command]:not(#pause)")) this.allow(button, button.dataset.command);
    this.allow(byId("correct"), "correct");
    this.allow(byId("new-class").querySelector("button"), "new_class");
    byId("new-name").disabled = !can.new_class;
    byId("replay").hidden = !(can.speed || can.hold);
    this.allow(byId("hold"), "hold");
    byId("replay-speed").disabled = !can.speed;
  }

  allow(button, command) {
    button.disabled = !this.can[command];
    button.title = button.disabled ? REASONS[command] ?? "not available in this run" : "";
  }

  labelButton(label) {
    const name = this.page.name(label);
    const button = element(
      "button",
      { type: "button", title: name },
      element("span", { className: "name", textContent: name }),
    );
    if (label <= 9) button.append(element("kbd", { textContent: String(label) }));
    button.disabled = !this.can.label;
    if (button.disabled) button.title = REASONS.label;
    button.addEventListener("click", () => this.label(label));
    return button;
  }

  label(label) {
    if (!this.can?.label) return this.say(`not available: ${REASONS.label}`, true);
    const name = this.page.name(label);
    if (this.correcting) {
      this.setCorrecting(false);
      return this.command({ name: "correct", label }, `last label corrected to ${name}`);
    }
    const span = byId("span").value;
    this.command({ name: "label", label, span_us: span ? Number(span) : null }, `label ${name}`);
  }

  // No digit stands for a label above 9.
  labelByName() {
    const field = byId("class-name");
    const found = classesLike(field.value, this.page.classes, this.page.name);
    if (found.length === 1) {
      field.value = "";
      field.blur();
      return this.label(found[0]);
    }
    const names = found.slice(0, 4).map((label) => this.page.name(label)).join(", ");
    this.say(found.length ? `which one: ${names}${found.length > 4 ? ", …" : ""}?` : `no such class: ${field.value}`, true);
  }

  setCorrecting(on) {
    if (on && !this.can?.correct) return this.say(`not available: ${REASONS.correct}`, true);
    this.correcting = on;
    byId("correct").setAttribute("aria-pressed", String(on));
    if (on) this.say("Which class was it? Choose one.");
  }

  showLearning(learning) {
    const paused = learning === "paused";
    const pause = byId("pause");
    pause.dataset.command = paused ? "resume" : "pause";
    setText(pause.firstChild, paused ? "Resume learning" : "Pause learning");
    if (!this.can) return;
    this.allow(pause, "pause");
    if (learning === "off") [pause.disabled, pause.title] = [true, "this run does not learn"];
  }

  // What is set now, by this page or by another; what a person is choosing stays.
  showPlayback({ held, played_at: speed }) {
    byId("hold").setAttribute("aria-pressed", String(held));
    const select = byId("replay-speed");
    if (document.activeElement === select || speed == null) return;
    const value = String(speed);
    if (![...select.options].some((option) => option.value === value)) {
      select.prepend(element("option", { value, textContent: `${+speed.toPrecision(3)}×` }));
    }
    select.value = value;
  }

  press(button) {
    const words = {
      pause: "learning paused",
      resume: "learning goes on",
      reset: "state at rest",
      save: "saved",
      retract: "last label taken back",
    };
    const name = button.dataset.command;
    this.command({ name }, words[name] ?? name);
  }

  setAway(why, { over = false } = {}) {
    if (why === this.away) return;
    this.say(why);
    this.away = why;
    byId("controls").inert = over;
  }

  // False where nobody is there who could do it.
  command(fields, words) {
    if (this.away) return this.say(this.away, true);
    const id = ++this.sent;
    this.waiting.set(id, words);
    if (this.waiting.size > 32) this.waiting.delete(this.waiting.keys().next().value);
    this.page.send({ kind: "command", id, ...fields });
    return true;
  }

  showAnswer(answer) {
    const words = this.waiting.get(answer.id) ?? "done";
    this.waiting.delete(answer.id);
    if (!answer.ok) return this.say(answer.error, true);
    this.say(answer.path ? `${words}: ${answer.path}` : words);
  }

  say(text, failed = false) {
    const said = byId("said");
    said.classList.toggle("failed", failed);
    setText(said, text);
  }

  pressByKey(button) {
    if (button.disabled) return this.say(`not available: ${button.title}`, true);
    button.click();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.key === "Escape") {
      this.setCorrecting(false);
      document.activeElement?.blur();
    }
    if (event.target.matches("input, select, textarea")) return;
    if (/^[0-9]$/.test(event.key)) {
      const label = Number(event.key);
      if (this.page.classes.includes(label)) this.label(label);
    } else if (event.key === "p") {
      this.pressByKey(byId("pause"));
    } else if (event.key === "s") {
      this.pressByKey(document.querySelector('button[data-command="save"]'));
    } else if (event.key === "c") {
      this.setCorrecting(!this.correcting);
    } else if (event.key === "b") {
      this.pressByKey(document.querySelector('button[data-command="retract"]'));
    } else if (event.key === "n" && !byId("new-name").disabled) {
      event.preventDefault();
      byId("new-name").focus();
    } else if (event.key === "l" && !byId("by-name").hidden) {
      event.preventDefault();
      byId("class-name").focus();
    }
  }
}
