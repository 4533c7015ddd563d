/** The two sets of tests (test/tiers.ts), for the page's. */
import process from "node:process";
import { test } from "@playwright/test";

/** A test that only the whole set has: it is long, and shorter ones cover part of it. */
export const thorough = process.env.RINGSIDE_TESTS === "brief" ? test.skip : test;
