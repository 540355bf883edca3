/** @file Python's strftime (glibc's, in the C locale) for local times without a zone, as `strftime_now` gives them. */

const months = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const days = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/** The date in the format's words. What is no directive stays as it is. */
export function strftime(date: Date, format: string): string {
  const year = date.getFullYear();
  const dayOfYear = Math.round((Date.UTC(year, date.getMonth(), date.getDate()) - Date.UTC(year, 0, 0)) / 86_400_000);
  const weekday = date.getDay();
  const [isoYear, isoWeek] = isoWeekOf(date);
  // The number and how wide it is, with what fills it.
  const number = (value: number, width = 2, fill = "0"): Field => ({ text: String(value), width, fill });
  const again = (inner: string): Field => ({ text: strftime(date, inner), width: 0, fill: " " });
  const word = (text: string): Field => ({ text, width: 0, fill: " " });
  const fields: Readonly<Record<string, () => Field>> = {
    Y: () => number(year, 0), C: () => number(Math.floor(year / 100)), y: () => number(year % 100), G: () => number(isoYear, 0), g: () => number(isoYear % 100),
    m: () => number(date.getMonth() + 1), B: () => word(months[date.getMonth()]), b: () => word(months[date.getMonth()].slice(0, 3)), h: () => word(months[date.getMonth()].slice(0, 3)),
    d: () => number(date.getDate()), e: () => number(date.getDate(), 2, " "), j: () => number(dayOfYear, 3),
    A: () => word(days[weekday]), a: () => word(days[weekday].slice(0, 3)), w: () => number(weekday, 0), u: () => number(weekday || 7, 0),
    U: () => number(Math.floor((dayOfYear + 6 - weekday) / 7)), W: () => number(Math.floor((dayOfYear + 6 - ((weekday + 6) % 7)) / 7)), V: () => number(isoWeek),
    H: () => number(date.getHours()), k: () => number(date.getHours(), 2, " "), I: () => number(date.getHours() % 12 || 12), l: () => number(date.getHours() % 12 || 12, 2, " "),
    M: () => number(date.getMinutes()), S: () => number(date.getSeconds()), f: () => number(date.getMilliseconds() * 1000, 6),
    p: () => word(date.getHours() < 12 ? "AM" : "PM"), P: () => word(date.getHours() < 12 ? "am" : "pm"), s: () => number(Math.floor(date.getTime() / 1000), 0),
    D: () => again("%m/%d/%y"), x: () => again("%m/%d/%y"), F: () => again("%Y-%m-%d"), T: () => again("%H:%M:%S"), X: () => again("%H:%M:%S"), R: () => again("%H:%M"),
    r: () => again("%I:%M:%S %p"), c: () => again("%a %b %e %H:%M:%S %Y"), z: () => word(""), Z: () => word(""), n: () => word("\n"), t: () => word("\t"), "%": () => word("%"),
  };
  return format.replace(/%([-_0^#]*)(\d*)[EO]?([a-zA-Z%])/g, (whole, flags: string, width: string, letter: string) => {
    const field = Object.hasOwn(fields, letter) ? fields[letter]() : undefined;
    if (field === undefined) return whole;
    const fill = flags.includes("_") ? " " : flags.includes("0") ? "0" : field.fill;
    const padded = flags.includes("-") ? field.text : field.text.padStart(width === "" ? field.width : Math.min(Number(width), 100), fill);
    if (flags.includes("^")) return padded.toUpperCase();
    return flags.includes("#") ? (letter === "p" ? padded.toLowerCase() : padded.toUpperCase()) : padded;
  });
}

interface Field {
  readonly text: string;
  readonly width: number;
  readonly fill: string;
}

/** The year and week by ISO 8601: the week of the year's first Thursday is its first. */
function isoWeekOf(date: Date): readonly [year: number, week: number] {
  const thursday = new Date(Date.UTC(date.getFullYear(), date.getMonth(), date.getDate() + 3 - ((date.getDay() + 6) % 7)));
  const year = thursday.getUTCFullYear();
  return [year, 1 + Math.floor((thursday.getTime() - Date.UTC(year, 0, 1)) / 86_400_000 / 7)];
}
