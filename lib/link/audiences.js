// @ts-check
"use strict";

/**
 * Knows how many have received the last publish on each channel, and waits until as many are subscribed again to shard
 * channels. When a slot has moved or Redis was away, servers subscribe again at different times.
 */

/** The most channels that are remembered. */
const MAX_CHANNELS = 10_000;

/** The most that are waited for at a time. */
const MAX_AWAITED = 500;

/** How long they are waited for, in milliseconds: some may have gone. */
const PATIENCE = 3000;

/** The pause between two counts, in milliseconds. */
const STEP = 25;

class Audiences {
  #count;
  /** By channel, the one heard last with the highest number. @type {Map<string, { size: number, number: number }>} */
  #known = new Map();
  #last = 0;
  /** Those that are to come back, and until when they are waited for. @type {Map<string, { size: number, until: number }>} */
  #awaited = new Map();

  /** @param {(channels: string[]) => Promise<number[]>} count */
  constructor(count) {
    this.#count = count;
  }

  /** @param {string} channel @param {number} receivers */
  heard(channel, receivers) {
    const known = this.#known.get(channel);
    const number = ++this.#last;
    if (known !== undefined) {
      known.size = receivers;
      known.number = number;
      return;
    }
    if (this.#known.size >= MAX_CHANNELS) this.#known.clear();
    this.#known.set(channel, { size: receivers, number });
  }

  /**
   * How many have received the last publish on a channel, or on one that the same servers are subscribed to; 0 if that is
   * not known.
   *
   * @param {string} channel
   * @param {((channel: string) => boolean) | null} isAlike
   */
  sizeOf(channel, isAlike) {
    let last = this.#known.get(channel);
    if (isAlike === null) return last?.size ?? 0;
    for (const [name, known] of this.#known) {
      if (known.number > (last?.number ?? 0) && isAlike(name)) last = known;
    }
    return last?.size ?? 0;
  }

  /** A publish has reached nobody. @param {string} channel */
  lost(channel) {
    const size = this.#known.get(channel)?.size;
    if (size === undefined || this.#awaited.size >= MAX_AWAITED || this.#awaited.has(channel)) return;
    this.#awaited.set(channel, { size, until: performance.now() + PATIENCE });
  }

  /** Resolves when all channels that lost their audience have as many subscribers as before, or after a while. */
  async gathered() {
    while (this.#awaited.size > 0) {
      const channels = [...this.#awaited.keys()];
      const counts = await this.#count(channels).catch(() => []);
      const now = performance.now();
      for (const [index, channel] of channels.entries()) {
        const awaited = this.#awaited.get(channel);
        if (awaited === undefined) continue;
        if (counts[index] >= awaited.size || now >= awaited.until) this.#awaited.delete(channel);
      }
      if (this.#awaited.size > 0) await new Promise((resolve) => setTimeout(resolve, STEP).unref());
    }
  }
}

module.exports = { Audiences };
