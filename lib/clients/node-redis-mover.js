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
  // Who subscribes meanwhile waits for it, and is told.
  moved.catch(() => {});
  // 4 has the promise instead of the client.
  if (isOfFour(cluster)) place.client = moved;
  else place.connectPromise = moved;
}

/**
 * Moves the subscriptions of a client that receives nothing, the user's own too, to a client of another node. Tries one node
 * after another. Resolves to the new client; rejects if the cluster client subscribes by yet another one meanwhile, or is
 * closed.
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
      // When the cluster client is closed it ends the client that it has here, which has to be open.
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

/** A random one of the nodes that were not tried; of all, if all were. @param {any} cluster @param {Set<string>} tried the last one last */
function nodeBut(cluster, tried) {
  const up = mastersOf(cluster).filter(isUp);
  const others = up.filter(({ address }) => !tried.has(address));
  if (others.length > 0) return pick(others);
  const [last] = [...tried].slice(-1);
  tried.clear();
  return pick(up.filter(({ address }) => address !== last)) ?? up[0];
}

/** A random one of them. @template T @param {T[]} all @returns {T | undefined} */
function pick(all) {
  return all[Math.floor(Math.random() * all.length)];
}

/**
 * A client of another node with the options of the subscriber. Not with those of the node's own client: in 4, that of a first
 * node never connects again.
 *
 * @param {any} listening
 * @param {any} node
 */
function likeAt(listening, node) {
  const { host, port } = node.client.options.socket;
  const client = listening.duplicate({ socket: { ...listening.options.socket, host, port } });
  // Its errors show in what it does not do.
  client.on("error", () => {});
  return client;
}

/**
 * Has a client of a node subscribe to what another one was subscribed to.
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
 * Resolves to whether a client is subscribed in time, while it is wanted.
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
 * Returns what ends a client of a node that may never connect. A client that has a connection can be ended at once. One that
 * is still connecting would forget its connection, which would stay.
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
