// Base64, as the benchmark has it evaluated: of a text of 512 bytes.
var alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
function encode(text) {
  var out = '';
  for (var i = 0; i < text.length; i += 3) {
    var left = text.length - i;
    var bits = text.charCodeAt(i) << 16;
    if (left > 1) bits |= text.charCodeAt(i + 1) << 8;
    if (left > 2) bits |= text.charCodeAt(i + 2);
    out += alphabet[bits >> 18] + alphabet[bits >> 12 & 63];
    out += left > 1 ? alphabet[bits >> 6 & 63] : '=';
    out += left > 2 ? alphabet[bits & 63] : '=';
  }
  return out;
}
encode(input);
