// Public JSON-RPC clients against one monitor socket, unmodified; prints one line per thing that
// happened, for comparison with clients.golden. Arguments: path of the socket.
'use strict';
const net = require('net');
const path = process.argv[2];
const say = (who, what) => console.log(`${who}: ${typeof what === 'string' ? what : JSON.stringify(what)}`);
const until = (test) => new Promise((done) => {
	const look = () => (test() ? done() : setTimeout(look, 5));
	look();
});

async function jayson() {
	const client = require('jayson').Client.tcp({ path });
	const call = (m, p) => new Promise((done) => client.request(m, p, (e, r) => done(e || r)));

	say('jayson', (await call('vm.list', {})).result);
	say('jayson array', (await call('vm.list', [])).result);
	const failed = (await call('vm.start', ['nobody'])).error;
	say('jayson error', [failed.code, failed.data.kind, failed.data.vm]);
	const batch = [client.request('vm.list', {}, undefined, false), client.request('no.such', {}, undefined, false)];
	const answers = await new Promise((done, fail) => client.request(batch, (e, r) => (e ? fail(e) : done(r))));
	say('jayson batch', answers.map((a) => (a.error ? a.error.code : a.result)));
}

async function vscode() {
	const v = require('vscode-jsonrpc/node');
	const socket = net.connect(path);
	const c = v.createMessageConnection(new v.SocketMessageReader(socket), new v.SocketMessageWriter(socket));
	const events = [];

	c.onNotification('event', (e) => events.push(e.kind));
	c.listen();
	say('vscode', await c.sendRequest('vm.list'));
	try {
		await c.sendRequest('vm.strat', { vm: 'x' });
	} catch (e) {
		say('vscode error', [e.code, e.data.hint]);
	}
	await c.sendRequest('events.subscribe', { kinds: ['vm.created', 'vm.removed'] });
	await c.sendRequest('vm.create', { definition: { name: 'e2e' } });
	const source = new v.CancellationTokenSource();
	const waiting = c.sendRequest('vm.wait', { vm: 'e2e', state: 'running' }, source.token);
	await c.sendRequest('vm.list');
	source.cancel();
	try {
		await waiting;
	} catch (e) {
		say('vscode cancel', e.data.kind);
	}
	await c.sendRequest('vm.rm', { vm: 'e2e' });
	await until(() => events.length === 2);
	say('vscode events', events);
	c.dispose();
	socket.destroy();
}

async function jsonrpc20() {
	const { JSONRPCServerAndClient, JSONRPCServer, JSONRPCClient } = require('json-rpc-2.0');
	const socket = net.connect(path);
	const both = new JSONRPCServerAndClient(
		new JSONRPCServer(),
		new JSONRPCClient((r) => { socket.write(JSON.stringify(r) + '\n'); }));
	const events = [];
	let rest = '';

	both.addMethod('event', (e) => { events.push(e.kind); });
	socket.on('data', (d) => {
		const lines = (rest + d).split('\n');
		rest = lines.pop();
		lines.forEach((l) => both.receiveAndSend(JSON.parse(l)));
	});
	say('json-rpc-2.0', await both.request('vm.list', {}));
	try {
		await both.request('vm.start', {});
	} catch (e) {
		say('json-rpc-2.0 error', [e.code, e.message]);
	}
	await both.request('events.subscribe', { kinds: ['net.state'] });
	both.notify('net.create', { name: 'lan' });
	await until(() => events.length === 1);
	await both.request('net.rm', { name: 'lan' });
	await until(() => events.length === 2);
	say('json-rpc-2.0 events', events);
	const batch = await both.client.requestAdvanced([
		{ jsonrpc: '2.0', id: 71, method: 'vm.list' }, { jsonrpc: '2.0', id: 72, method: 'no.such' }]);
	say('json-rpc-2.0 batch', batch.map((a) => (a.error ? a.error.code : a.result)));
	socket.destroy();
}

async function openrpc() {
	const { validateOpenRPCDocument } = require('@open-rpc/schema-utils-js');
	const client = require('jayson').Client.tcp({ path });
	const doc = await new Promise((done) => client.request('rpc.discover', {}, (e, r) => done(r.result)));

	say('openrpc', String(validateOpenRPCDocument(doc)));
	say('openrpc results', String(doc.methods.every((m) => m.result && m.result.schema)));
}

(async () => {
	await jayson();
	await vscode();
	await jsonrpc20();
	await openrpc();
	process.exit(0);
})().catch((e) => {
	console.log('failed:', e);
	process.exit(1);
});
