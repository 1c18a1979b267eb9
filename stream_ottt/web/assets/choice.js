// Which class is meant by what was typed: its name or number, else the beginning of either, else a part of the name.

export function classesLike(typed, classes, nameOf) {
  const wanted = typed.trim().toLowerCase();
  if (!wanted) return [];
  const means = [
    (name) => name === wanted,
    (name, number) => number === wanted,
    (name, number) => name.startsWith(wanted) || number.startsWith(wanted),
    (name) => name.includes(wanted),
  ];
  for (const fits of means) {
    const found = classes.filter((label) => fits(nameOf(label).toLowerCase(), String(label)));
    if (found.length) return found;
  }
  return [];
}
