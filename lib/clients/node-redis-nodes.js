// @ts-check
"use strict";

/**
 * The nodes of the cluster clients of `redis`, 4 to 6, as these show them.
 */

const { slotOf } = require("../base/native");
const { disconnect } = require("./duplicate");

/** What the client calls the kinds of subscriptions, in their order. */
const TYPES = ["CHANNELS", "PATTERNS", "SHARDED"];

/** Whether it is a client of 4. @param {any} cluster */
function isOfFour(cluster) {
  return cluster._slots === undefined;
}

/** The client lists a master once for each of its ranges of slots. @param {any} cluster @returns {any[]} */
function mastersOf(cluster) {
  return [...new Set(cluster.masters ?? [])];
}

/** The replicas, if the client has been told to use them. @param {any} cluster @returns {any[]} */
function replicasOf(cluster) {
  return [...new Set(cluster.replicas ?? [])];
}

/** All of them. @param {any} cluster @returns {any[]} */
function nodesOf(cluster) {
  return [...new Set([...mastersOf(cluster), ...replicasOf(cluster)])];
}

/** The node that the client takes for the master of a channel's slot. @param {any} cluster @param {string} channel @returns {any} */
function masterOf(cluster, channel) {
  return cluster.slots?.[slotOf(channel)]?.master;
}

/** Whether there is a connection to a node of the cluster. @param {any} node */
function isUp(node) {
  return node.client?.isReady === true;
}

/** The client's subscriber connection for global channels; null if there is none. @param {any} cluster @returns {any} */
function globalSubscriberOf(cluster) {
  return asSubscriber(cluster.pubSubNode?.client);
}

/** The client's subscriber connection for shard channels at a node; null if there is none. @param {any} node @returns {any} */
function shardSubscriberOf(node) {
  return asSubscriber(node?.pubSub?.client ?? node?.pubSubClient);
}

/** Null if it is no client yet: while it connects, 4 has a promise there. @param {any} client @returns {any} */
function asSubscriber(client) {
  return typeof client?.getPubSubListeners === "function" ? client : null;
}

/**
 * Ends the subscriber connection for shard channels at a node. A client that is closed forgets those of nodes that have become
 * replicas: they would go on trying to connect for ever.
 *
 * @param {any} node
 * @param {any} subscriber
 */
function endSubscriber(node, subscriber) {
  const forget = () => {
    if (node.pubSub?.client === subscriber) node.pubSub = undefined;
    if (node.pubSubClient === subscriber) node.pubSubClient = undefined;
  };
  const connecting = node.pubSub?.connectPromise;
  disconnect(subscriber);
  // Until it is connected the client writes to this entry.
  if (connecting === undefined) forget();
  else connecting.then(forget, forget);
}

/** Ends all connections to a node of a client that is closed. If that is connected again, it makes new ones. @param {any} node */
function endNode(node) {
  const { client, pubSub, pubSubClient } = node;
  const forget = () => {
    // In 4 there is a promise while it connects, and then the client that was promised.
    if (node.client === client || ended.has(node.client)) node.client = undefined;
    if (node.pubSub === pubSub) node.pubSub = undefined;
    if (node.pubSubClient === pubSubClient || ended.has(node.pubSubClient)) node.pubSubClient = undefined;
  };
  const end = (/** @type {any} */ one) => {
    if (one === undefined || ended.has(one)) return;
    ended.add(one);
    disconnect(one);
  };
  for (const one of [client, pubSub?.client, pubSubClient])
    Promise.resolve(one)
      .then(end, () => {})
      .then(forget);
  forget();
}

/** The clients of nodes that are being ended, or have been. @type {WeakSet<any>} */
const ended = new WeakSet();

module.exports = {
  TYPES,
  endNode,
  endSubscriber,
  globalSubscriberOf,
  isOfFour,
  isUp,
  masterOf,
  mastersOf,
  nodesOf,
  replicasOf,
  shardSubscriberOf,
};
