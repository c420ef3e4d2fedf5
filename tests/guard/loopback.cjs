// Keep a Node process of a test run on this machine: what sitecustomize.py does for Python.

"use strict";

const dns = require("node:dns");
const net = require("node:net");

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1|::ffff:127(\.\d{1,3}){3})$/i;

function check(host) {
	if (host && !LOOPBACK.test(host)) {
		throw new Error(`a test tried to reach ${host}: tests reach loopback only`);
	}
}

// net.connect, http, https, tls and fetch all end here; the arguments may be normalized already.
const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...args) {
	const given = Array.isArray(args[0]) ? args[0] : args;
	check(typeof given[0] === "object" ? given[0]?.host : typeof given[1] === "string" ? given[1] : undefined);
	return connect.apply(this, args);
};

for (const module of [dns, dns.promises]) {
	for (const name of Object.keys(module).filter((key) => /^(lookup|resolve)/.test(key))) {
		const ask = module[name];
		module[name] = function (host, ...rest) {
			check(host);
			return ask.call(this, host, ...rest);
		};
	}
}
