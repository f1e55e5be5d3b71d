// @ts-check
"use strict";

/**
 * What a link hears by a user's client of a cluster, with a clock of the test's own: channels, probes, and what is found.
 */

const assert = require("node:assert");
const { PROBE } = require("../../lib/link/channel-prober");
const { ChannelProber } = require("../../lib/link/channel-prober");
const { Looks } = require("./looks");

class World extends Looks {
  isUp = true;
  /** When something was asked, and about which channel. @type {{ at: number, channel: string }[]} */
  probes = [];
  /** The channels that are not heard, as they were found. @type {string[]} */
  deaf = [];
  /** For how long nothing may have come in on each of them, in milliseconds. @type {number[]} */
  silences = [];
  /** Whether a probe comes in on its channel. @type {(channel: string) => boolean} */
  echoes = () => true;
  /** What Redis answers to a probe. @type {(channel: string) => Promise<number>} */
  answer = async () => 1;
  /** The node that a channel is listened to at. @type {(channel: string) => string | null} */
  place = () => null;

  constructor() {
    super();
    this.prober = new ChannelProber({
      isUp: () => this.isUp,
      publish: (channel) => this.#publish(channel),
      placeOf: (channel) => this.place(channel),
      onDeaf: (channel) => {
        this.deaf.push(channel);
        this.silences.push(this.prober.loses(channel));
      },
    });
  }

  /** @param {string} channel */
  async #publish(channel) {
    this.probes.push({ at: this.now, channel });
    const receivers = await this.answer(channel);
    if (receivers > 0 && this.echoes(channel)) this.hears(channel, PROBE);
    return receivers;
  }

  /** @param {string} channel @param {string} [payload] */
  hears(channel, payload = "message") {
    return this.prober.hears(Buffer.from(channel), Buffer.from(payload));
  }

  /** Subscribes to channels, and has something come in on each. @param {string[]} channels */
  async listens(...channels) {
    for (const channel of channels) {
      this.prober.listens(channel);
      this.hears(channel);
    }
    await this.looks(1);
  }

  /** Has looks happen until something was asked again; returns how many. @param {number} most */
  async looksUntilAsked(most) {
    const { length } = this.probes;
    for (let n = 1; n <= most; n++) {
      await this.looks(1);
      if (this.probes.length > length) return n;
    }
    return assert.fail(`nothing was asked within ${most} looks`);
  }
}

module.exports = { World };
