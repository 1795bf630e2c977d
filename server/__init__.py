"""Who watches: HTTP, WebRTC and the render loop."""
