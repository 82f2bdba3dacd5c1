// A socket in front of another: "one" passes one byte per write, "all" joins what comes within a
// moment into one write. Arguments: mode, own path, path of the other.
'use strict';
const net = require('net');
const [mode, own, other] = process.argv.slice(2);

function pump(from, to) {
	let held = [];
	let timer = null;

	from.on('data', (d) => {
		if (mode === 'one') {
			for (let i = 0; i < d.length; i++)
				to.write(d.subarray(i, i + 1));
			return;
		}
		held.push(d);
		if (!timer)
			timer = setTimeout(() => {
				to.write(Buffer.concat(held));
				held = [];
				timer = null;
			}, 20);
	});
	from.on('end', () => setTimeout(() => to.end(), 50));
	from.on('error', () => to.destroy());
}

net.createServer({ allowHalfOpen: true }, (a) => {
	const b = net.connect({ path: other, allowHalfOpen: true });
	a.setNoDelay(true);
	pump(a, b);
	pump(b, a);
}).listen(own, () => console.log('ready'));
