export * from "socket.io-redis-native/dist/util.js";
