// A service in node: says which requests it was given, a line of JSON each; its first line is its port.
const http = require('http');

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n');
const decoded = (text) => { try { return decodeURIComponent(text); } catch { return 'undecodable'; } };

const server = http.createServer((request, response) => {
  let length = 0;
  request.on('data', (piece) => { length += piece.length; });
  request.on('end', () => {
    // As most frameworks read a path: what stands before the question mark; and as a URL.
    const path = request.url.split('?')[0];
    const url = new URL(request.url, 'http://service');
    say({
      id: request.headers['x-road-id'] || '',
      method: request.method,
      target: request.url,
      routed: [decoded(path), decoded(url.pathname)],
      host: request.headers.host || '',
      length,
    });
    response.end('fine');
  });
});
// Whoever is asked to change the protocol, or to be a tunnel, was misled.
server.on('upgrade', (request, socket) => { say({ id: 'upgrade', method: request.method, target: request.url, routed: [], host: '', length: 0 }); socket.destroy(); });
server.on('connect', (request, socket) => { say({ id: 'connect', method: request.method, target: request.url, routed: [], host: '', length: 0 }); socket.destroy(); });
server.listen(0, '127.0.0.1', () => say(server.address().port));
