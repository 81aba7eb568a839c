/** What tests of pages need of the browser. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";

const executablePath = process.env.CHROMIUM_PATH ?? "/usr/bin/chromium";
const screenshots = join(process.cwd(), "test-output/screenshots");

/** Whether tests of pages are left out; never where CI is set. */
export const withoutChromium = !existsSync(executablePath) && !process.env.CI;
export const needsChromium = "needs Chromium: apt-get install chromium";

/** @param args - Besides those that all tests need. */
export async function launchChromium(...args: string[]): Promise<Browser> {
  assert.ok(existsSync(executablePath), `no ${executablePath}: apt-get install chromium`);
  return chromium.launch({
    executablePath,
    args: [
      "--headless=new",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...args,
    ],
  });
}

/** Saves a picture of the whole page, for people to look at. */
export async function screenshot(page: Page, name: string): Promise<void> {
  await mkdir(screenshots, { recursive: true });
  const path = join(screenshots, `${name}.png`);
  await page.screenshot({ path, fullPage: true, animations: "disabled" });
}

/** Fails if the page scrolls sideways. */
export async function fits(page: Page): Promise<void> {
  const spill = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
  assert.equal(await page.evaluate(spill), 0);
}

/** The visible texts of a page whose contrast is below 4.5, with that contrast. */
export function weakTexts(page: Page): Promise<[string, number][]> {
  return page.evaluate(`(() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const linear = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const background = (element) => {
    const found = channels(getComputedStyle(element).backgroundColor);
    return found[3] === 0 ? background(element.parentElement) : found;
  };
  const contrast = (element) => {
    const pair = [channels(getComputedStyle(element).color), background(element)].map(luminance);
    return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
  };
  for (const animation of document.getAnimations()) animation.finish();
  return [...document.querySelectorAll("body *")]
    .filter((e) => e.checkVisibility() && !e.closest("svg, noscript"))
    .filter((e) => e.matches("input") || [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .map((e) => [e.textContent || e.id, contrast(e)])
    .filter(([, ratio]) => ratio < 4.5);
})()`);
}
