"""Positions of answers: their mean, and files that maps show."""

import json

import numpy as np

RADIUS = 25.0  # metres around the first match


def degrees(lat, lon):
    return {"lat": round(lat, 7), "lon": round(lon, 7)} if lat == lat and lon == lon else None


def estimate(places, similarities):
    """Return the mean of (k, 2) degrees within RADIUS of the first, weighted by similarity, in earth-centred metres."""
    a, b = 6378137.0, 6356752.314245  # WGS 84
    (lat, lon), e2 = np.radians(places).T, 1 - b * b / (a * a)
    n = a / np.sqrt(1 - e2 * np.sin(lat) ** 2)
    earth = np.stack([n * np.cos(lat) * np.cos(lon), n * np.cos(lat) * np.sin(lon), n * (1 - e2) * np.sin(lat)], 1)
    weights = np.maximum(similarities, 0) * (np.linalg.norm(earth - earth[0], axis=1) <= RADIUS)
    if not weights[0] > 0:
        return places[0].tolist()
    x, y, z = np.average(earth, axis=0, weights=weights)
    theta = np.arctan2(z * a, np.hypot(x, y) * b)  # Bowring 1976
    lat = np.arctan2(z + (a * a - b * b) / b * np.sin(theta) ** 3, np.hypot(x, y) - e2 * a * np.cos(theta) ** 3)
    return np.degrees([lat, np.arctan2(y, x)]).tolist()


def geojson(lines):
    features = []
    for line in (line for line in lines if line.get("position")):
        point = {"type": "Point", "coordinates": [line["position"]["lon"], line["position"]["lat"]]}
        rest = {key: value for key, value in line.items() if key not in ("matches", "position")}
        rest["match"] = line["matches"][0]["match"]
        features.append({"type": "Feature", "geometry": point, "properties": rest})
    return json.dumps({"type": "FeatureCollection", "features": features}, indent=1) + "\n"


def gpx(lines):
    """Return the track of the positions that are not refused."""
    text = '<?xml version="1.0"?>\n<gpx version="1.1" creator="vpr" xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>'
    for line in (line for line in lines if line.get("position") and line["accepted"] is not False):
        stamp = f"<time>{line['time']}</time>" if "time" in line else ""
        text += '\n<trkpt lat="{lat}" lon="{lon}">'.format(**line["position"]) + stamp + "</trkpt>"
    return f"{text}\n</trkseg></trk></gpx>\n"
