// @ts-check
"use strict";

/**
 * Has a cluster client of `redis`, 4 to 6, listen to the global channels at another node: by itself it would wait for as
 * long as the cluster has the node.
 */

const { SHARD, within } = require("./client");
const { disconnect } = require("./duplicate");
const { TYPES, globalSubscriberOf, isOfFour, isUp, mastersOf } = require("./node-redis-nodes");

/** How often it is looked whether a connection stands, in milliseconds. */
const LOOK_EVERY = 250;

/** How many looks another connection to listen by may take, to one node: doubled each time, since networks may be slow. */
const PATIENCE = Object.freeze({ first: 12, most: 240 });

/**
 * Begins it, if there is anything to listen by instead.
 *
 * @param {any} cluster
 * @param {() => void} onMove it is about to leave the connection that it listens by
 */
function listenElsewhere(cluster, onMove) {
  const place = cluster.pubSubNode;
  const mute = globalSubscriberOf(cluster);
  if (mute === null || place.connectPromise !== undefined || !mastersOf(cluster).some(isUp)) return;
  onMove();
  const moved = move(cluster, place, mute);
  // Who subscribes meanwhile hears of it.
  moved.catch(() => {});
  // 4 has the promise instead of the client.
  if (isOfFour(cluster)) place.client = moved;
  else place.connectPromise = moved;
}

/**
 * Has another client of a node listen to what a mute one does: to what the user has subscribed to, too. Tries one node
 * after another. Resolves to that client; rejects if the cluster client listens by yet another one meanwhile, or is closed.
 *
 * @param {any} cluster
 * @param {any} place as the cluster client has it
 * @param {any} mute
 */
async function move(cluster, place, mute) {
  const listeners = TYPES.slice(0, SHARD).map((type) => mute.getPubSubListeners(type));
  const isWanted = () => cluster.isOpen !== false && cluster.pubSubNode === place;
  const tried = new Set([place.address]);
  let endLast = () => endNow(mute);
  /** @type {number} */
  let patience = PATIENCE.first;
  while (isWanted()) {
    const node = nodeBut(cluster, tried);
    if (node !== undefined) {
      tried.add((place.address = node.address));
      const client = likeAt(mute, node);
      const end = endable(client);
      const listens = takeOver(client, listeners);
      if (isOfFour(cluster)) place.client = client;
      // The cluster client ends what it has at hand when it is closed: that has to be open.
      endLast();
      if ((await isInTime(listens, isWanted, patience)) && isWanted()) {
        place.client = client;
        place.connectPromise = undefined;
        return client;
      }
      endLast = end;
      patience = Math.min(patience * 2, PATIENCE.most);
    }
    if (isWanted()) await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY).unref());
  }
  endLast();
  throw new Error("the client listens elsewhere by now");
}

/** One of the nodes that were not tried, by chance; if all were, of all. @param {any} cluster @param {Set<string>} tried the last one last */
function nodeBut(cluster, tried) {
  const up = mastersOf(cluster).filter(isUp);
  const others = up.filter(({ address }) => !tried.has(address));
  if (others.length > 0) return pick(others);
  const [last] = [...tried].slice(-1);
  tried.clear();
  return pick(up.filter(({ address }) => address !== last)) ?? up[0];
}

/** One of them, by chance. @template T @param {T[]} all @returns {T | undefined} */
function pick(all) {
  return all[Math.floor(Math.random() * all.length)];
}

/**
 * A client like one that listens, of another node. Not like what the cluster client runs commands by: that of a first node
 * never connects again, in 4.
 *
 * @param {any} listening
 * @param {any} node
 */
function likeAt(listening, node) {
  const { host, port } = node.client.options.socket;
  const client = listening.duplicate({ socket: { ...listening.options.socket, host, port } });
  // What goes wrong is told by what it does not do.
  client.on("error", () => {});
  return client;
}

/**
 * Has a client of a node listen to what another one did.
 *
 * @param {any} client
 * @param {Map<string, any>[]} listeners by the kinds of subscriptions
 */
async function takeOver(client, listeners) {
  await client.connect();
  for (const [kind, ofKind] of listeners.entries())
    if (ofKind.size > 0) await client.extendPubSubListeners(TYPES[kind], ofKind);
}

/**
 * Resolves to whether a client listens. It does not if that fails, takes too many looks, or is not wanted any more.
 *
 * @param {Promise<void>} listens
 * @param {() => boolean} isWanted
 * @param {number} patience so many looks
 */
async function isInTime(listens, isWanted, patience) {
  /** @type {boolean | null} */
  let answer = null;
  const told = listens.then(
    () => (answer = true),
    () => (answer = false),
  );
  for (let looks = 0; looks < patience && answer === null && isWanted(); looks++)
    await within(told, LOOK_EVERY);
  return answer === true;
}

/**
 * Returns what ends a client of a node that may never connect. One that greets its node can be ended at once; one that has
 * no connection yet would forget it, and keep it.
 *
 * @param {any} client that has not begun to connect
 */
function endable(client) {
  let isConnected = false;
  client.on("connect", () => (isConnected = true));
  client.on("reconnecting", () => (isConnected = false));
  return () => (isConnected ? endNow(client) : disconnect(client));
}

/** @param {any} client of a node */
function endNow(client) {
  if (client.isOpen === false) return;
  if (client.destroy) client.destroy();
  else client.disconnect().catch(() => {});
}

module.exports = { listenElsewhere };
