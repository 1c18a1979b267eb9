// The WebSocket to the run. It says when a message has been drawn, so that a hidden or slow page is sent nothing,
// and connects again by itself.

import { decodeParts } from "./parts.js";

// Messages whose drawing is told at once: each telling costs the run something. Fewer than may be under way.
const TOLD = 2;
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 4000;

export class Connection {
  // onParts(parts) draws; onState(state, why) says "open", "lost" or "refused".
  constructor({ onParts, onState }) {
    this.onParts = onParts;
    this.onState = onState;
    this.wish = { kind: "wish" };
    this.wait = FIRST_WAIT_MS;
    this.pending = [];
    this.draw = () => this.drawPending();
    this.connect();
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/live`);
    socket.binaryType = "arraybuffer";
    this.drawn = 0;
    socket.onopen = () => {
      this.wait = FIRST_WAIT_MS;
      this.send(this.wish);
      this.onState("open");
    };
    socket.onmessage = ({ data }) => {
      this.pending.push(data);
      if (this.pending.length === 1) requestAnimationFrame(this.draw);
    };
    socket.onclose = () => {
      this.drawPending(); // the run's last word may have come just before
      this.retry();
    };
    this.socket = socket;
  }

  drawPending() {
    const messages = this.pending.splice(0);
    try {
      for (const message of messages) this.onParts(decodeParts(message));
    } finally {
      this.drawn += messages.length;
      if (this.drawn >= TOLD) {
        this.send({ kind: "ready", drawn: this.drawn });
        this.drawn = 0;
      }
    }
  }

  async retry() {
    this.onState("lost");
    await new Promise((done) => setTimeout(done, this.wait));
    this.wait = Math.min(2 * this.wait, LONGEST_WAIT_MS);
    try {
      // A refused WebSocket gives no reason; a refused page does. It also keeps an absent server's errors out of the
      // console until there is one again.
      const answer = await fetch("/", { cache: "no-store" });
      if (answer.status === 403) this.onState("refused", await answer.text());
      if (answer.ok) return this.connect();
    } catch {
      // Nobody there.
    }
    this.retry();
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  ask(wish) {
    this.wish = { ...this.wish, ...wish };
    this.send(this.wish);
  }
}
