// An application in Node without any package: events, a WebSocket that sends back what it hears, a
// long poll, and a page that uses them. Tells its port on standard output.
'use strict';
const crypto = require('node:crypto');
const http = require('node:http');

const PAGE = `<!doctype html><title>app</title><script>
  window.heard = []; window.told = []; window.ended = null;
  const socket = new WebSocket('wss://' + location.host + '/socket');
  socket.onopen = () => socket.send('hello');
  socket.onmessage = event => window.heard.push(event.data);
  socket.onclose = event => { window.ended = event.code; };
  const events = new EventSource('/events');
  events.onmessage = event => window.told.push(event.data);
  events.onerror = () => { window.lost = true; };
</script>`;

const listeners = new Set();
const polls = new Set();

const server = http.createServer((request, response) => {
  const url = new URL(request.url, 'http://app');
  if (url.pathname === '/events') {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.write('data: ready\n\n');
    listeners.add(response);
    response.on('close', () => listeners.delete(response));
  } else if (url.pathname === '/poll') {
    polls.add(response);
  } else if (url.pathname === '/tell') {
    const word = url.searchParams.get('word');
    for (const listener of listeners) listener.write(`data: ${word}\n\n`);
    for (const poll of polls) poll.end(word);
    polls.clear();
    response.end(String(listeners.size));
  } else if (url.pathname === '/digest') {
    const hash = crypto.createHash('sha256');
    request.on('data', piece => hash.update(piece));
    request.on('end', () => response.end(hash.digest('hex')));
  } else {
    response.writeHead(200, { 'Content-Type': 'text/html' });
    response.end(PAGE);
  }
});

// RFC 6455, as far as short text frames of a client go.
server.on('upgrade', (request, socket, head) => {
  const key = request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
  const accept = crypto.createHash('sha1').update(key).digest('base64');
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
    `Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
  let bytes = head;
  const read = () => {
    while (bytes.length >= 6) {
      const length = bytes[1] & 0x7f;
      if (bytes.length < 6 + length) return;
      const mask = bytes.subarray(2, 6);
      const text = bytes.subarray(6, 6 + length).map((byte, at) => byte ^ mask[at % 4]);
      if ((bytes[0] & 0xf) === 1) socket.write(Buffer.concat([Buffer.from([0x81, length]), text]));
      bytes = bytes.subarray(6 + length);
    }
  };
  socket.on('data', piece => { bytes = Buffer.concat([bytes, piece]); read(); });
  socket.on('error', () => socket.destroy());
  read();
});

server.listen(0, '127.0.0.1', () => console.log(server.address().port));
