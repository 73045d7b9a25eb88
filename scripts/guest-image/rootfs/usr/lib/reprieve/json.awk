# Prints the value at path `want` of a JSON document, decoded; for "name/" the value of each
# member of that object. No other JSON reader comes with busybox.
{ text = text $0 "\n" }
END { at = 1; value("") }

function blank() { while (substr(text, at, 1) ~ /[ \t\r\n]/) at++ }

function value(path,    c, n, start) {
  blank()
  c = substr(text, at, 1)
  if (c == "{") {
    at++
    for (blank(); substr(text, at, 1) != "}" && at <= length(text); blank()) {
      if (substr(text, at, 1) == ",") { at++; continue }
      n = string(); blank(); at++ # the colon
      value(path == "" ? n : path "/" n)
    }
    at++
  } else if (c == "[") {
    at++; n = 0
    for (blank(); substr(text, at, 1) != "]" && at <= length(text); blank()) {
      if (substr(text, at, 1) == ",") { at++; continue }
      value(path "/" n++)
    }
    at++
  } else if (c == "\"") {
    found(path, string())
  } else {
    start = at
    while (at <= length(text) && substr(text, at, 1) !~ /[],} \t\r\n]/) at++
    if (at == start) at++
    else if (substr(text, start, at - start) != "null") found(path, substr(text, start, at - start))
  }
}

function found(path, s) {
  if (path == want) print s
  else if (substr(want, length(want)) == "/" && index(path, want) == 1 && index(substr(path, length(want) + 1), "/") == 0) print s
}

function string(    c, s) {
  s = ""
  for (at++; at <= length(text); at++) {
    c = substr(text, at, 1)
    if (c == "\"") { at++; return s }
    if (c == "\\") {
      c = substr(text, ++at, 1)
      if (c == "n") c = "\n"
      else if (c == "t") c = "\t"
      else if (c == "r") c = "\r"
      else if (c == "b") c = "\b"
      else if (c == "f") c = "\f"
      else if (c == "u") c = unicode()
    }
    s = s c
  }
  return s
}

function hex(s,    i, n) {
  s = tolower(s); n = 0
  for (i = 1; i <= length(s); i++) n = n * 16 + index("0123456789abcdef", substr(s, i, 1)) - 1
  return n
}

# Leaves `at` on the last digit. Two halves of a pair make one character.
function unicode(    n) {
  n = hex(substr(text, at + 1, 4)); at += 4
  if (n >= 55296 && n < 56320 && substr(text, at + 1, 2) == "\\u") {
    n = 65536 + (n - 55296) * 1024 + hex(substr(text, at + 3, 4)) - 56320; at += 6
  }
  if (n < 128) return sprintf("%c", n)
  if (n < 2048) return sprintf("%c%c", 192 + int(n / 64), 128 + n % 64)
  if (n < 65536) return sprintf("%c%c%c", 224 + int(n / 4096), 128 + int(n / 64) % 64, 128 + n % 64)
  return sprintf("%c%c%c%c", 240 + int(n / 262144), 128 + int(n / 4096) % 64, 128 + int(n / 64) % 64, 128 + n % 64)
}
